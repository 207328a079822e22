"""Rows that shape what own samples teach, run by the loop: what they remember, select and leave out."""

import logging

import pytest

from points import recipe_of, taken
from running import equal, opened, ran, tables
from scalpel.methods import shaping
from scalpel.part import bind
from scalpel.registry import lookup
from scalpel.runs.folder import RunFolder
from scalpel.training.estimate import estimate
from scalpel.training.loop import train

SMALL = {"name": "probed-groups", "size": 3, "provers": 2, "cut": "e", "force": "#", "room": 2}
REMEMBERING = {
    "batches": {
        "method": "rorecomp",
        "signals": {"0": {"source": {"name": "replayed-groups", "size": 3, "capacity": 2, "chance": 0.7}}},
    },
    "answers": {  # exploring is paid from the first step: the row's warm-up is longer than the run
        "method": "memory-r-plus",
        "signals": {"0": {"source": {"size": 3}, "rewards": ["data", "episodic"]}},
    },
    "prompts": {"method": "rif", "signals": {"0": {"source": {"size": 3}}}},
    "flows": {"method": "gflow-subtb", "signals": {"0": {"source": {"size": 2}}}},
}


@pytest.mark.parametrize("method", shaping.ROWS)
def test_two_steps_of_the_row(at, method):
    given = shaping.ROWS[method].stage["signals"][0]["source"]
    name = given if isinstance(given, str) else given["name"]
    small = SMALL if name == "probed-groups" else {"name": name, "size": 3}
    over = {k: v for k, v in small.items() if k in lookup("source", name).schema}
    _, records = taken(recipe_of(at, {"method": method, "signals": {"0": {"source": {"name": name, **over}}}}))
    if method not in (
        "mrt-star",
        "cls-rl",
        "cls-rl-no-thinking",
    ):  # a random model writes no tags
        assert any(record["gradient_norm"] > 0 for record in records)


@pytest.mark.parametrize("name", REMEMBERING)
def test_what_it_remembers_survives_a_stop(at, tmp_path, name):
    made = tables(at, {**REMEMBERING[name], "checkpoint_every": 2})
    expected, log = ran(made, tmp_path / "whole")
    with pytest.raises(Stop):
        train(made, RunFolder(tmp_path / "cut"), tell=stop_after(5))
    found, lines = ran(made, tmp_path / "cut", resume=True)
    assert lines == log and equal(found, expected)


class Stop(Exception):
    pass


def stop_after(step: int):
    def tell(record) -> None:
        if record["step"] == step:
            raise Stop

    return tell


def test_a_batch_that_comes_back_costs_no_samples(at, tmp_path):
    made = tables(at, REMEMBERING["batches"])
    _, log = ran(made, tmp_path / "run")
    sampled = [b["tokens_sampled"] - a["tokens_sampled"] for a, b in zip(log, log[1:], strict=False)]
    assert 0 in sampled and max(sampled) > 0


def test_a_reward_beside_those_of_the_data_is_added_to_them(at, tmp_path):
    signals = {"0": {"source": {"size": 3}, "rewards": ["data", {"name": "brevity", "weight": 0.5}]}}
    _, log = ran(tables(at, {"method": "grpo", "signals": signals, "steps": 2}), tmp_path / "run")
    assert {"rewards/spread/mean", "rewards/brevity/mean"} <= set(log[0])
    assert log[0]["reward"] == pytest.approx(
        log[0]["rewards/spread/mean"] + 0.5 * log[0]["rewards/brevity/mean"], rel=1e-4
    )


def test_only_selected_prompts_are_learnt_from_and_the_log_says_how_many(at, tmp_path, caplog):
    seen: set[str] = set()

    def watch(run, stage, state) -> bool:
        if state.global_step == 0:
            kept = stage.streams[0].selected
            assert 0 < len(kept) < 15 and len(stage.streams[0].examples) == len(kept)
            watch.kept = {stage.streams[0].examples[i].id for i in range(len(kept))}
        seen.update(row["id"] for row in run.rollout.record.completions)
        return False

    chosen = {"name": "learnable", "size": 4, "most": 2}
    stage = {"method": "rif", "log_completions": 9, "signals": {"0": {"source": {"size": 3}, "select": chosen}}}
    with caplog.at_level(logging.INFO, "scalpel"):
        run = train(tables(at, stage), RunFolder(tmp_path / "run"), watch=watch)
    assert seen and seen <= watch.kept
    assert any("of 15 prompts selected" in message for message in caplog.messages)
    assert run.engine.meter.tokens_sampled > 15 * 4


def test_a_selection_that_keeps_nothing_is_refused_with_the_way_out(at):
    stage = {"method": "rif", "signals": {"0": {"select": {"name": "learnable", "threshold": 9.0, "size": 2}}}}
    with pytest.raises(ValueError, match="keeps none of 15 prompts: take easier ones, .*prefix-rft"):
        train(tables(at, stage))


def test_the_flow_head_learns_and_is_told_apart_from_a_value_head(at):
    made = tables(at, {"method": "gflow-tb", "steps": 3, "signals": {"0": {"source": {"size": 2}}}})
    kept = {}

    def watch(run, stage, state) -> bool:
        kept.update({n: p.detach().clone() for n, p in stage.owned.named_parameters()})
        return False

    train(made, watch=watch)
    assert set(kept) == {"flow.weight", "flow.bias"} and float(kept["flow.weight"].abs().max()) > 0
    both = {"signals": [
        {"source": {"name": "groups", "size": 2}, "credit": ["gae"], "objective": "clipped-pg", "name": "a"},
        {"objective": "value", "name": "b"},
        {"credit": ["constant"], "objective": "tb", "name": "c"},
    ], "steps": 2}  # fmt: skip
    train(tables(at, both), watch=watch)
    assert {"value.weight", "flow.weight"} <= set(kept)


def test_a_gate_of_progress_needs_a_source_that_measures_it(at):
    signal = {"source": "groups", "credit": ["progress"], "objective": "clipped-pg"}
    with pytest.raises(ValueError, match="reads 'progress', which source 'groups' doesn't provide: .*probed-groups"):
        train(tables(at, {"signals": [signal]}))
    assert bind("source", "probed-groups").part.gives >= {"progress", "reward"}


def test_the_estimate_counts_what_a_selection_takes(run):
    short = {"steps": 2, "signals": {"0": {"source": {"size": 2}}}}
    selecting, plain = (estimate(run, opened(run, {"method": method, **short})) for method in ("rif", "grpo"))
    assert selecting.before > 0.0 == plain.before
    assert selecting.seconds == selecting.before + 2 * selecting.seconds_a_step
