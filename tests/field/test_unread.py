"""Unread and cut off: told apart from wrong in tasks, probes, the record, the completions and the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from running import prepare, records, tables
from scalpel.config.recipe import parse
from scalpel.data.example import Example
from scalpel.evaluation.ledger import (
    read,
    side_by_side,
    summary,
    write,
)
from scalpel.evaluation.probes import Generate, ItemResult
from scalpel.evaluation.probes.item import Answer
from scalpel.evaluation.unread_warnings import warn_of_unread
from scalpel.experiments.compare import checked
from scalpel.experiments.single import run_recipe
from scalpel.experiments.tuning import tuning_probe
from scalpel.rewards import Rewards
from scalpel.rewards.scored import UNREAD, unread
from scalpel.runs.progress import Progress
from scalpel.tasks.instruct import Instructed, Instruction
from scalpel.training.run import probes_of
from scalpel.training.sample_shares import SampleShares


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("material"))


class Sums:
    """A task whose answers are numbers."""

    name = "sums"

    def examples(self, split: str, n: int, seed: int = 0) -> list[Example]:
        return [Example(prompt=f"{i}+0=", answer=str(i), id=str(i)) for i in range(n)]

    def score(self, completion: str, example: Example) -> float:
        return UNREAD if not completion.strip().isdigit() else float(completion.strip() == example.answer)


def test_a_task_under_an_instruction_is_unread_without_the_mark() -> None:
    class Plain(Sums):
        def score(self, completion: str, example: Example) -> float:
            return float(completion == example.answer)

    for put in (Instruction(after="Answer:"), Instruction(extract=r"= (\d+)")):
        task, example = Instructed(Plain(), put), Example(answer="4")  # type: ignore[arg-type]
        found = [task.score(said, example) for said in ("Answer: 4 = 4", "Answer: 5 = 5", "well, 4", "")]
        assert list(map(unread, found)) == [False, False, True, True] and found[1:] == [0.0, 0.0, 0.0]


def test_a_generator_of_reasoning_gym_reads_nothing_in_an_empty_text() -> None:
    from scalpel.tasks.reasoning_gym import ReasoningGym

    task = ReasoningGym("chain_sum")
    (example,) = task.examples("train", 1)
    assert unread(task.score(" ", example)) and not unread(task.score("no", example))


def test_a_users_verifier_says_unread_by_none(tmp_path: Path) -> None:
    from scalpel.rewards.verifiers import make

    (tmp_path / "v.py").write_text("def f(completions):\n    return [None if c == '' else 0.5 for c in completions]\n")
    judge = make(f"{tmp_path}/v.py:f")
    assert unread(judge("", Example())) and judge("x", Example()) == 0.5


def test_rewards_carry_it_beside_a_value_of_0() -> None:
    examples = Sums().examples("train", 3)
    scored = Rewards(["task"], Sums())(examples, ["0", "9", "none"], [[1]] * 3)  # type: ignore[arg-type]
    assert scored.reward_S.tolist() == [1.0, 0.0, 0.0] and list(scored.unread) == [False, False, True]
    assert [marks.unread for marks in scored.marks] == [False, False, True]
    seen = SampleShares()
    seen.note(scored, [False, True, True])
    assert seen.shares == {"samples/unread": 1 / 3, "samples/cut_off": 2 / 3, "samples/unrewarded": 0.0}
    assert "33% unread" in seen.words(6) and "67% cut off at 6 tokens" in seen.words(6)


def test_a_run_tells_both_shares_in_the_look_the_record_and_the_completions(
    at: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"prompt": f"{i}>", "answer": "1", "completion": "1"} for i in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = {"name": "pattern", "pattern": "#### (.+)"}
    task = {"name": "jsonl", "path": str(tmp_path / "rows.jsonl"), "verify": judge}
    probe = {"name": "p", "task": task, "n": 2, "split": "train"}
    made = tables(
        at, {"method": "grpo", "steps": 2, "checkpoint_every": 0}, data={"rewards": []}, task=task,
        measure={"probes": [probe], "points": 0, "recovery_items": 0},
    )  # fmt: skip
    shown: list[str] = []

    progress = Progress(quiet=True)
    progress.say = shown.append  # type: ignore[method-assign]
    run_recipe(made, tmp_path / "run", progress=progress)
    assert any("100% unread" in words and "cut off at 6 tokens" in words for words in shown)
    first = next(r for r in records(tmp_path / "run") if r["kind"] == "train")
    assert first["samples/unread"] == 1.0 and 0 < first["samples/cut_off"] <= 1.0
    lines = [json.loads(x) for x in (tmp_path / "run" / "completions.jsonl").read_text().splitlines()]
    assert all(line["unread"] and line["cut_off"] in (True, False) for line in lines)
    about = json.loads((tmp_path / "run" / "ledger" / "summary.json").read_text())["probes"]["p"]
    assert about["unread"] == {"before": 1.0, "after": 1.0} and set(about["cut_off"]) == {"before", "after"}
    line = json.loads((tmp_path / "run" / "ledger" / "p.jsonl").read_text().splitlines()[0])
    assert line["unread_before"] and line["unread_after"] and {"cut_off_before", "cut_off_after"} <= line.keys()
    said = caplog.text
    assert (
        said.count("hold nothing that the verifier can read")
        == 1
        == said.count("outputs of the base the verifier found no answer")
    )
    assert said.count("were cut off at 6 tokens") >= 1


def result(i: int, **flags: bool) -> ItemResult:
    return ItemResult(str(i), False, None, "", "", "", **flags)


def test_a_probe_is_warned_of_once_and_only_above_a_tenth(caplog: pytest.LogCaptureFixture) -> None:
    probe = Generate("p", Sums(), n=20, max_tokens=7)  # type: ignore[arg-type]
    few = [result(i, cut_off=i < 2) for i in range(20)]
    many = [result(i, cut_off=i < 3, unread=i < 5) for i in range(20)]
    warn_of_unread(probe, few)
    warn_of_unread(probe, many, many)  # said of the base already
    assert not caplog.text
    warn_of_unread(probe, many)
    warn_of_unread(probe, few, many)
    assert caplog.text.count("15% of 20 answers of the base were cut off at 7 tokens") == 1
    assert caplog.text.count("15% of 20 answers of the tuned model were cut off") == 1
    assert caplog.text.count("in 25% of 20 outputs of the base the verifier found no answer") == 1


def test_ledgers_that_are_older_than_these_fields_are_read(tmp_path: Path) -> None:
    probe = Generate("p", Sums(), n=2)  # type: ignore[arg-type]
    book = side_by_side(probe, [result(0), result(1, unread=True)], [result(0), result(1, cut_off=True)])
    assert summary(book)["unread"] == {"before": 0.5, "after": 0.0}
    assert summary(book)["cut_off"] == {"before": 0.0, "after": 0.5}
    write(tmp_path, [book])
    assert read(tmp_path) == [book]
    path = tmp_path / "ledger" / "p.jsonl"
    old = [
        {k: v for k, v in json.loads(x).items() if "unread" not in k and "cut_off" not in k}
        for x in path.read_text().splitlines()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in old))
    assert not any(entry.unread_before for entry in read(tmp_path)[0].entries)


def test_a_probes_answer_carries_its_flags() -> None:
    probe = Generate("p", Sums(), n=1)  # type: ignore[arg-type]
    (example,) = probe.items()
    found = [probe.result(example, Answer(text, cut), None) for text, cut in (("0", False), ("7", True), ("so", True))]
    assert [(r.right, r.unread, r.cut_off) for r in found] == [
        (True, False, False),
        (False, False, True),
        (False, True, True),
    ]


# --- limits follow the stage ----------------------------------------------------------------------------------------


def recipe(**over: Any) -> Any:
    task = {"name": "world/reverse"}
    raw = {
        "model": "world-1m",
        "task": task,
        "measure": {"probes": [{"name": "a", "task": task}, {"name": "b", "task": task, "max_tokens": 9}]},
        **over,
    }
    return parse(raw)


def limits(made: Any) -> list[int]:
    return [probe.max_tokens for probe in probes_of(made)]  # type: ignore[attr-defined]


def test_a_probe_that_says_nothing_takes_the_limit_of_the_longest_stage() -> None:
    sft = {"method": "sft"}
    assert limits(recipe(train={**sft, "sampling": {"max_tokens": 300}})) == [300, 9]
    stages = [{**sft, "sampling": {"max_tokens": n}} for n in (100, 200, 50)]
    assert limits(recipe(stages=stages)) == [200, 9]
    assert limits(recipe()) == [256, 9]
    made = recipe(train=sft)
    measure = made.measure.model_copy(update={"max_tokens": 33})
    assert limits(made.model_copy(update={"measure": measure})) == [33, 9]
    tuned = recipe(train={**sft, "sampling": {"max_tokens": 300}})
    assert tuning_probe(tuned, 5).max_tokens == 300


def test_arms_are_measured_under_one_limit() -> None:
    arms = [{"name": n, "method": "sft", "sampling": {"max_tokens": m}} for n, m in (("x", 20), ("y", 80))]
    _, made = checked(recipe(compare={"arms": arms}))
    assert [limits(arm.recipe) for arm in made] == [[80, 9], [80, 9]]
    assert [arm.recipe.stages[0].sampling.max_tokens for arm in made] == [20, 80]


def test_a_keep_set_that_is_solved_follows_too(at: Path) -> None:
    from scalpel.keep import make_sets
    from scalpel.keep.sets import Solved

    found = make_sets([{"name": "s", "kind": "solved", "task": {}, "n": 3}], None, lambda _: Sums(), (), 77)  # type: ignore[arg-type,return-value]
    assert isinstance(found[0], Solved) and found[0].probe.max_tokens == 77
