"""The floor in the loop: it steers what it names, counts in the record, and survives being stopped."""

import json

import pytest
import torch

from running import equal, ran, records, tables
from scalpel.experiments.single import run_recipe
from scalpel.runs.folder import RunFolder
from scalpel.training.loop import train
from scalpel.training.run import TrainingRun


@pytest.fixture(scope="module")
def sets(at):
    """A keep set of which a random model gets about half right."""
    path = at / "pairs.jsonl"
    rows = [{"good": f"{i} is {chr(97 + i % 26)}", "bad": f"{i} is {chr(65 + i % 26)}"} for i in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [{"name": "pairs", "kind": "choose", "path": str(path)}]


def recipe(at, sets, train_=None, **keep):
    floor: dict = {"floor": 0.95, "sets": sets, "every": 2, "items": 16, "documents": 12, "max_tokens": 8, **keep}
    return tables(at, {"method": "sft", "checkpoint_every": 2, **(train_ or {})}, keep=floor)


def test_without_a_named_anchor_the_base_writes_the_text_on_which_it_is_held(at, sets, tmp_path):
    made = recipe(at, sets)
    (stage,) = made.stages
    assert stage.signals[-1].source.name == "self-written" and stage.keep.steer == ["keep"]
    assert [(a.name, a.hyper["on"]) for a in stage.anchors] == [("kl", "keep")]
    _, log = ran(made, tmp_path / "a")
    looks = [line for line in log if "keep/worst" in line]
    assert [line["step"] for line in looks] == [2, 4, 6]
    assert all(line["keep/worst"] == line["keep/pairs"] and line["keep/strength"] > 0 for line in looks)
    assert all(line["keep/kl"] >= 0 for line in log)


def test_a_resolved_recipe_is_not_given_a_second_signal(at, sets):
    made = recipe(at, sets)
    again = tables(at, [made.stages[0].model_dump(exclude_none=True, by_alias=True)], keep=made.keep.model_dump())
    assert len(again.stages[0].signals) == len(made.stages[0].signals) == 2


def test_what_the_base_writes_counts_whoever_asks_first(at, sets, tmp_path):
    """The look before step 1 draws a batch, and that has the base write."""
    made = recipe(at, sets)
    alone = train(made).engine.meter
    looked_at = run_recipe(made, tmp_path / "a")["cost"]
    assert alone.tokens_sampled > 0
    assert (looked_at["tokens_sampled"], looked_at["flops"]) == (alone.tokens_sampled, alone.flops)


def test_a_source_is_told_how_far_the_model_has_moved_on_each_of_its_texts(at, sets, tmp_path):
    run = train(recipe(at, sets, batch=5))
    (source,) = [stream.source for stream in run.plans[0].streams if stream.source.part.name == "self-written"]
    moved = source.memory.state["moved"]
    assert moved.shape == (12,) and bool((moved >= 0).all()) and 5 <= int((moved > 0).sum()) <= 12


def test_a_floor_of_zero_is_none(at, sets, tmp_path):
    plain, _ = ran(tables(at, {"method": "sft"}), tmp_path / "a")
    off, log = ran(recipe(at, sets, floor=0.0), tmp_path / "b")
    assert equal(plain, off) and not any("keep/worst" in line for line in log)


def test_the_factors_of_a_step_are_those_of_the_dual_variable(at, sets):
    """One step of SGD: the move is (gain + λ·pull) / (1 + λ) of the moves of each alone."""

    def moved(keep, anchors):
        stage = {"optimizer": "sgd", "steps": 1, "clip": 0.0, "learning_rate": 0.5, "warmup": 0.0, "anchors": anchors}
        run = train(recipe(at, sets, {**stage, "schedule": "constant", "scope": "all"}, every=100, **keep))
        base = TrainingRun(run.recipe).engine.model.state_dict()
        return {k: x - base[k] for k, x in run.engine.model.state_dict().items()}

    gain = moved({"floor": 0.0}, [])
    both = moved({"floor": 0.95, "steer": ["l2"], "strength": 3.0}, [{"name": "l2", "strength": 0.5}])
    for name, x in gain.items():  # the first step starts at home, where the anchor's gradient is zero
        torch.testing.assert_close(both[name], x / 4)


@pytest.mark.parametrize(
    "stage",
    [
        {},
        {"method": "grpo", "scope": "lora"},
        {"scope": {"name": "lift", "interval": 2}, "anchors": ["l2"]},
    ],
    ids=["sft", "grpo with adapters", "sparse with an anchor"],
)
def test_killed_and_resumed_is_never_stopped(at, sets, tmp_path, stage):
    made = recipe(at, sets, stage, **({"steer": ["l2"]} if "anchors" in stage else {}))
    expected, log = ran(made, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(made, RunFolder(tmp_path / "cut"), tell=lambda record: interrupt() if record["step"] == 5 else None)
    assert records(tmp_path / "cut")[-1]["step"] == 5
    found, lines = ran(made, tmp_path / "cut", resume=True)
    assert lines == log and equal(found, expected)


def test_what_became_of_an_earlier_stages_floor_outlives_an_interruption(at, sets, tmp_path):
    stages = [{"method": "sft", "steps": 2}, {"method": "sft", "steps": 4, "checkpoint_every": 2}]
    made = tables(at, stages, keep=recipe(at, sets).keep.model_dump(exclude={"steer"}))
    with pytest.raises(KeyboardInterrupt):
        train(made, RunFolder(tmp_path / "cut"), tell=lambda record: interrupt() if record["step"] == 5 else None)
    found = train(made, RunFolder(tmp_path / "cut", True), resume=True).floors
    assert [one["stage"] for one in found] == ["sft", "sft.2"]


def test_whatever_a_stage_refers_to_the_floor_holds_to_the_base(at, sets):
    def beside(stage):
        """The models beside the policy in a second stage, and whether they are the base."""
        seen = {}

        def watch(run, stage, state) -> bool:
            base = dict(run.models.base().named_parameters())
            others = run.engine.others if stage.index else {}
            seen.update(
                {role: equal(dict(policy.transformer.named_parameters()), base) for role, policy in others.items()}
            )
            return False

        stages = [{"method": "sft", "steps": 2, "learning_rate": 0.1}, {"method": "sft", "steps": 1, **stage}]
        train(tables(at, stages, keep=recipe(at, sets).keep.model_dump(exclude={"steer"})), watch=watch)
        return seen

    assert beside({}) == {"reference": True}
    assert beside({"reference": "start", "anchors": ["kl"]}) == {"reference": False, "base": True}


def test_what_the_base_writes_for_a_later_stage_is_paid_for_once(at, sets, tmp_path):
    keep = recipe(at, sets).keep.model_dump(exclude={"steer"})
    stages = [{"method": "sft", "steps": 2}, {"method": "sft", "steps": 3, "checkpoint_every": 1, "keep": keep}]
    made = tables(at, stages)
    _, log = ran(made, tmp_path / "whole")
    sampled = [record["tokens_sampled"] for record in log]
    assert sampled[1] == 0 < sampled[2] == sampled[-1]
    with pytest.raises(KeyboardInterrupt):
        train(made, RunFolder(tmp_path / "cut"), tell=lambda record: interrupt() if record["step"] == 4 else None)
    assert ran(made, tmp_path / "cut", resume=True)[1] == log


def test_a_floor_at_which_no_look_is_taken_is_said(at, sets, caplog):
    run = train(recipe(at, sets, {"steps": 2}, every=5))
    assert "the floor of sft is never evaluated: the stage has 2 steps, but keep.every" in caplog.text
    assert run.floors[0]["looks"] == 0


def interrupt() -> None:
    raise KeyboardInterrupt


def test_in_a_second_stage_the_floor_is_still_the_base(at, sets):
    """What counts is what the base had, not what an earlier stage left."""
    seen = {}

    def watch(run, stage, state) -> bool:
        if stage.index == 1 and stage.floor and not state.step:
            seen["base"] = stage.floor.states[0].base
            seen["first"] = watch.first
        elif stage.floor and not state.step:
            watch.first = stage.floor.states[0].base
        return False

    stages = [{"method": "sft", "learning_rate": 0.1, "steps": 3}, {"method": "sft", "steps": 2}]
    train(tables(at, stages, keep=recipe(at, sets).keep.model_dump(exclude={"steer"})), watch=watch)
    assert seen["base"] == seen["first"]


@pytest.mark.parametrize(
    "keep, words",
    [
        ({"sets": []}, "a floor needs a keep set"),
        ({"steer": ["nothing"]}, "keep.steer names 'nothing', but this stage has the signals and anchors"),
        ({"flor": 1}, "unknown key .*did you mean 'floor'"),
        ({"floor": 1.5}, "keep.floor"),
        ({"strength": 30.0, "max_strength": 10.0}, "strength is 30, which is above max_strength = 10"),
    ],
)
def test_a_floor_that_cannot_be_is_refused(at, sets, keep, words):
    with pytest.raises(ValueError, match=words):
        train(tables(at, {"method": "sft"}, keep={"floor": 0.95, "sets": sets, **keep}))
