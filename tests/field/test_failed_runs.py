"""A comparison of which some runs fail: what was finished stays, what failed is said, and resuming tries that again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import scalpel.training.loop as training
import tiny
from command_line import OPENED, PROBES, Place, widen
from scalpel.experiments import tuning
from scalpel.training.step import NonFiniteLoss

COMPARISON = f"""
name = "arms"{OPENED}[compare]
seeds = [0, 1]
tuning_items = 2
budget = "steps"
shared = {{batch = 2, steps = 2, sampling = {{max_tokens = 2}}}}
arms = [{{name = "sft", method = "sft"}}, {{name = "half", method = "sft", scope = "hft"}}]
[measure]
points = 0
recovery_samples = 1
recovery_items = 1
"""


@pytest.fixture
def scalpel(tmp_path, monkeypatch) -> Place:
    tiny.folder(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("scalpel.experiments.workers.cores", lambda: 1)
    widen(monkeypatch, 400)
    place = Place(tmp_path)
    place.write("compare.toml", COMPARISON + PROBES)
    return place


@pytest.fixture
def failing(monkeypatch):
    """Lets the loop raise that error at a run's second step, where the run is among those."""
    real = training.take_step

    def fail(error: BaseException, *runs: str):
        def taken(run, stage, state, *step):
            arm = "half" if "hft" in str(run.recipe.stages[0].scope) else "sft"
            if state.step == 1 and f"{arm} {run.recipe.seed}" in runs:
                raise error
            return real(run, stage, state, *step)

        monkeypatch.setattr(training, "take_step", taken)

    return fail


def finished(folder: Path) -> dict[str, bytes]:
    """The runs that are finished, by what of them must never change."""
    return {
        str(path.parent.relative_to(folder)): path.read_bytes() + (path.parent / "ledger/say.jsonl").read_bytes()
        for path in folder.glob("arms/*/*/delta.safetensors")
        if (path.parent / "summary.json").exists()
    }


def test_a_failed_seed_leaves_the_finished_ones_and_is_said_and_resuming_tries_it_again(scalpel, failing, monkeypatch):
    failing(NonFiniteLoss("the loss is nan"), "half 1")
    ran = scalpel("compare", "compare.toml", "--out", "out")
    assert ran.code == 1 and "Traceback" not in ran.err
    assert "without a result: half in seed 1" in ran.said and "--resume" in ran.said
    assert "half failed in 1 of 2 seeds (seed 1: step 2: the loss is nan" in " ".join(ran.out.split())
    found = scalpel.json("out/comparison.json")
    assert [(row["name"], row["seeds"]) for row in found["arms"]] == [("sft", [0, 1]), ("half", [0])]
    assert [(f["arm"], f["seed"], f["fault"]) for f in found["failures"]] == [("half", 1, False)]
    assert "may be too good" in (scalpel.folder / "out/report.html").read_text()
    kept = finished(scalpel.folder / "out")
    assert len(kept) == 3 and "loss is nan" in (scalpel.folder / "out/arms/half/seed-1/error.txt").read_text()

    monkeypatch.undo()
    monkeypatch.chdir(scalpel.folder)
    monkeypatch.setattr("scalpel.experiments.workers.cores", lambda: 1)
    ran = scalpel("compare", "compare.toml", "--out", "out", "--resume")
    assert ran.code == 0, ran.err
    assert scalpel.json("out/comparison.json")["failures"] == []
    assert not list(scalpel.folder.glob("out/**/error.txt"))
    again = finished(scalpel.folder / "out")
    assert len(again) == 4 and again.items() >= kept.items()


def test_a_fault_of_ours_in_one_arm_costs_no_other_and_its_traceback_is_kept(scalpel, failing):
    failing(KeyError("a fault of ours"), "half 0", "half 1")
    ran = scalpel("compare", "compare.toml", "--out", "out")
    assert ran.code == 1 and "half gave no result: KeyError" in " ".join(ran.out.split())
    assert "in taken" in (scalpel.folder / "out/arms/half/seed-1/error.txt").read_text()
    assert len(finished(scalpel.folder / "out")) == 2
    assert scalpel.json("out/comparison.json")["failed"].keys() == {"half"}


def test_where_every_run_fails_each_reason_is_said_and_what_they_left_stays(scalpel, failing):
    failing(ValueError("no credit"), *(f"{arm} {seed}" for arm in ("sft", "half") for seed in range(2)))
    ran = scalpel("compare", "compare.toml", "--out", "out")
    assert ran.code == 2 and "every arm failed: sft: no credit; half: no credit" in ran.said
    assert len(list(scalpel.folder.glob("out/arms/*/*/metrics.jsonl"))) == 4


def test_an_arm_that_no_learning_rate_suits_costs_no_other(scalpel, failing):
    failing(NonFiniteLoss("the loss is nan"), "half 1000")
    ran = scalpel("compare", "compare.toml", "--out", "out", "compare.learning_rates=[1e-3, 1e-4]")
    assert ran.code == 1 and "without a result: half." in ran.said
    assert "it fails at every learning rate of its grid" in scalpel.json("out/comparison.json")["failed"]["half"]
    assert len(finished(scalpel.folder / "out")) == 2


def test_the_arm_that_sets_the_budget_must_not_fail(scalpel, failing):
    failing(NonFiniteLoss("the loss is nan"), "sft 1000")
    ran = scalpel("compare", "compare.toml", "--out", "out", "compare.budget='flops'")
    assert ran.code == 2 and "compare.equal_to" in ran.said and "loss is nan" in ran.said


def test_trials_that_were_finished_are_not_tried_again(scalpel, monkeypatch):
    rates = "compare.learning_rates=[1e-3, 1e-4]"
    tried, real = [], tuning.train

    def train(recipe, **more):
        tried.append(recipe.stages[-1].learning_rate)
        if len(tried) == 3:
            signal.raise_signal(signal.SIGINT)
        return real(recipe, **more)

    monkeypatch.setattr(tuning, "train", train)
    assert scalpel("compare", "compare.toml", "--out", "out", rates).code == 130
    assert not scalpel.json("out/tuning.json")["finished"]
    assert scalpel("compare", "compare.toml", "--out", "out", rates, "--resume").code == 0
    assert tried == [1e-3, 1e-4, 1e-3, 1e-3, 1e-4]
    trials = [(t["arm"], t["learning_rate"]) for t in scalpel.json("out/tuning.json")["trials"]]
    assert trials == [(arm, rate) for arm in ("sft", "half") for rate in (1e-3, 1e-4)]
