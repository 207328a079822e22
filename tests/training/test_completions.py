"""The table of completions: what the policy wrote, with what each reward function gave and logged."""

import json

import pytest
import torch

from running import ran, tables
from scalpel.runs.folder import RunFolder
from scalpel.training.completions import plain
from scalpel.training.loop import train

LOGGED = """
def length(completions, log_extra, **columns):
    log_extra("upper", [text.upper() for text in completions])
    log_extra("odd", [float("nan") if k else object for k, _ in enumerate(completions)])
    return [None if len(text) > 4 else float(len(text)) for text in completions]

def short(completions, log_extra, **columns):
    log_extra("upper", ["one"])
    return [0.0] * len(completions)
"""


def recipe(at, tmp_path, rewards=("length",), **stage):
    (tmp_path / "logged.py").write_text(LOGGED)
    named = [{"name": f"{tmp_path / 'logged.py'}:{name}", "weight": 2.0} for name in rewards]
    return tables(at, {"method": "grpo", "steps": 3, **stage}, data={"rewards": named})


def table(folder, name: str = "completions.jsonl") -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_each_step_shows_all_completions_of_its_first_prompts(at, tmp_path):
    made = recipe(at, tmp_path)
    _, log = ran(made, tmp_path / "run")
    rows = table(tmp_path / "run")
    assert [(row["step"], row["stage"]) for row in rows] == [(s, "grpo") for s in (1, 2, 3) for _ in range(2 * 8)]
    first = rows[:8]
    assert len({row["prompt"] for row in first}) == 1 != len({row["completion"] for row in first})
    assert rows[8]["prompt"] != rows[0]["prompt"] and {row["id"] for row in first} == {first[0]["id"]}
    for row in rows:
        fits = len(row["completion"]) <= 4
        assert row["rewards"] == {"length": float(len(row["completion"])) if fits else None}
        assert row["reward"] == (2.0 * len(row["completion"]) if fits else None)


def test_what_reward_functions_log_stands_beside_the_completion(at, tmp_path):
    ran(recipe(at, tmp_path), tmp_path / "run")
    rows = table(tmp_path / "run")
    assert all(row["extra"]["upper"] == row["completion"].upper() for row in rows)
    assert [row["extra"]["odd"] for row in rows[:2]] == ["<class 'object'>", None]


def test_a_column_that_is_too_short_is_refused_with_both_lengths(at, tmp_path):
    with pytest.raises(ValueError, match=r"log_extra\('upper', …\) got 1 values for 32 completions: pass one"):
        train(recipe(at, tmp_path, ("length", "short")))


@pytest.mark.parametrize(("n", "rows"), [(0, None), (1, 8), (9, 4 * 8)])
def test_the_recipe_says_how_many_prompts(at, tmp_path, n, rows):
    ran(recipe(at, tmp_path, log_completions=n, steps=1), tmp_path / "run")
    path = tmp_path / "run" / "completions.jsonl"
    assert (len(table(tmp_path / "run")) if path.exists() else None) == rows


def test_a_step_that_samples_nothing_shows_nothing(at, tmp_path):
    ran(recipe(at, tmp_path, signals={"0": {"updates_per_batch": 2}}), tmp_path / "grpo")
    assert [row["step"] for row in table(tmp_path / "grpo")] == [1] * 16 + [3] * 16
    ran(tables(at, {"method": "sft", "steps": 1}), tmp_path / "sft")
    assert not (tmp_path / "sft" / "completions.jsonl").exists()


def test_a_resumed_run_shows_each_step_once(at, tmp_path):
    made = recipe(at, tmp_path, checkpoint_every=2, steps=4)
    ran(made, tmp_path / "whole")

    def stop(record) -> None:
        if record["step"] == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(
            made,
            RunFolder(tmp_path / "cut"),
            watch=lambda run, stage, state: state.global_step == 3 and stop({"step": 3}),
        )
    with (tmp_path / "cut" / "completions.jsonl").open("a") as file:
        file.write('{"step": 4, "cut sh')
    ran(made, tmp_path / "cut", resume=True)
    assert table(tmp_path / "cut") == table(tmp_path / "whole")


def test_a_full_table_makes_room_and_the_last_completions_are_always_there(at, tmp_path):
    train(recipe(at, tmp_path), RunFolder(tmp_path / "run", completions_bytes=1))
    assert {row["step"] for row in table(tmp_path / "run")} == {3}
    assert {row["step"] for row in table(tmp_path / "run", "completions.1.jsonl")} == {2}


def test_values_of_any_kind_become_json():
    given = {"a": [1, (2.5, True)], 3: torch.tensor(4.0), "n": float("inf"), "t": torch.zeros(2), "none": None}
    found = plain(given)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found == {"a": [1, [2.5, True]], "3": 4.0, "n": None, "t": "tensor([0., 0.])", "none": None}


# --- generation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reuse", "steps"), [(1, [1, 1, 1, 1]), (2, [1, 0, 1, 0])])
def test_micro_batches_share_one_round_of_sampling(at, reuse, steps):
    sampled, passes, made = [], [], []

    def watch(run, stage, state) -> bool:
        if state.global_step == 0:
            draw, forward = run.engine.sample, run.engine.forward
            run.engine.sample = lambda *a, **k: sampled.append(len(made)) or draw(*a, **k)
            run.engine.forward = lambda *a, **k: passes.append(len(made)) or forward(*a, **k)
        else:
            made.append(state.global_step)
        return False

    signals = {"0": {"updates_per_batch": reuse, "objective": {"average": "token"}}}
    train(tables(at, {"method": "grpo", "steps": 4, "accumulation": 4, "signals": signals}), watch=watch)
    assert [sampled.count(step) for step in range(4)] == steps
    assert all(passes.count(step) >= 3 for step in range(4))
