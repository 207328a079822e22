"""A step that users' code ends is taken again bit for bit; where no step gets anywhere a run ends; and users' rewards
are called by nobody but those who say so."""

import logging
from dataclasses import replace

import pytest
import torch

from running import equal, prepare, records, tables, weights
from scalpel.extensions.guarded import Failed
from scalpel.runs.folder import RunFolder
from scalpel.training import loop
from scalpel.training.before_step import copied
from scalpel.training.estimate import Estimate, estimate
from scalpel.training.loop import train

# fails once, at its third call, where the file beside it isn't there
ONCE = """
import os
calls = 0
def short(completions, **columns):
    global calls
    calls += 1
    if calls == 3 and not os.path.exists({flag!r}):
        open({flag!r}, "w").close()
        raise OSError("gone")
    return [-float(len(set(text))) for text in completions]
"""


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("material"))


def failing(at, tmp_path):
    (tmp_path / "once.py").write_text(ONCE.format(flag=str(tmp_path / "flag")))
    return f"{tmp_path}/once.py:short"


def two_signals(first, last):
    """Two sources, each with rewards of its own."""
    signal = {"source": {"name": "groups", "size": 2}, "credit": ["group-mean"], "objective": "clipped-pg"}
    return {"signals": [{**signal, "rewards": first}, {**signal, "rewards": last}], "steps": 4, "batch": 2}


def goes_on(made, tmp_path, error, words):
    """Runs until that error, and on from there; it must come to what a whole run comes to."""
    with pytest.raises(error, match=words):
        train(made, RunFolder(tmp_path / "cut"))
    again = train(made, RunFolder(tmp_path / "cut", True), resume=True)
    whole = train(made, RunFolder(tmp_path / "whole"))
    assert equal(weights(again), weights(whole))
    assert records(tmp_path / "cut") == records(tmp_path / "whole")


def test_what_rewards_remember_of_a_step_that_users_code_ended_is_forgotten(at, tmp_path):
    made = tables(at, two_signals([f"{at}/reward.py:spread", "episodic"], [failing(at, tmp_path)]))
    goes_on(made, tmp_path, Failed, r"step 3: .*OSError: gone")


@pytest.mark.parametrize("late", [False, True])
def test_a_temperature_that_follows_its_samples_is_as_it_was_before_them(at, tmp_path, monkeypatch, late):
    sampling = {"max_tokens": 6, "target_entropy": 3.0, "temperature_rate": 0.5}
    rewards = [f"{at}/reward.py:spread"] if late else [failing(at, tmp_path)]
    made = tables(at, {**two_signals(rewards, ["exact"]), "sampling": sampling})
    if not late:
        goes_on(made, tmp_path, Failed, r"step 3: .*OSError: gone")
        return
    real, failed = loop.take_step, []

    def taken(run, stage, state, *arguments):
        if state.global_step == 2 and not failed:
            failed.append(1)
            raise Failed("a function of yours, asked late")
        return real(run, stage, state, *arguments)

    monkeypatch.setattr(loop, "take_step", taken)
    goes_on(made, tmp_path, Failed, "step 3: .*asked late")


def test_tables_and_lists_are_copied_and_tensors_are_shared():
    held = {"right": {"a": torch.ones(2)}, "recent": [1.0]}
    kept = copied(held)
    held["recent"].append(2.0)
    held["right"]["b"] = torch.zeros(1)
    assert kept["recent"] == [1.0] and kept["right"].keys() == {"a"} and kept["right"]["a"] is held["right"]["a"]


# --- nothing is ever spent ----------------------------------------------------------------------------------------


def test_a_budget_that_no_step_spends_ends_the_run_and_one_step_that_does_begins_anew(at, tmp_path, monkeypatch):
    made = tables(at, {"method": "sft", "budget": {"unit": "tokens", "amount": 10_000}})
    real, idle = loop.draw_batches, []

    def drawn(run, stage, state, progress):
        if state.global_step in (0, 3):
            idle[:] = [replace(b, train_N=torch.zeros_like(b.train_N)) for b in real(run, stage, state, progress)]
        return real(run, stage, state, progress) if state.global_step == 2 else idle

    monkeypatch.setattr(loop, "draw_batches", drawn)
    with pytest.raises(ValueError, match=r"100 steps up to 103 trained on nothing and spent nothing\. If all examples"):
        train(made, RunFolder(tmp_path / "run"))
    assert [line["step"] for line in records(tmp_path / "run")] == list(range(1, 103))


# --- who calls users' rewards -------------------------------------------------------------------------------------

COUNTS = "calls = []\ndef mine(completions, **columns):\n    calls.append(len(completions))\n    return [1.0, 0.0] * "
COUNTS += "(len(completions) // 2)\n"


def counting(tmp_path):
    """A reward that counts how often it was called, and how to read that."""
    from scalpel.extensions.files import function_at

    (tmp_path / "counts.py").write_text(COUNTS)
    spec = f"{tmp_path}/counts.py:mine"
    return spec, function_at(spec).__globals__["calls"]


def test_an_estimate_calls_no_reward_of_the_users_and_says_what_is_not_in_it(at, tmp_path):
    spec, calls = counting(tmp_path)
    made, said = tables(at, {"method": "grpo", "steps": 1}, data={"rewards": [spec, "exact"]}), []

    def watch(run, stage, state):
        if state.global_step == 0:
            said.append(estimate(run, stage))
            assert not calls
        return True

    train(made, watch=watch)
    (found,) = said
    assert isinstance(found, Estimate) and found.unasked == ("mine",)
    assert found.words.endswith("; what reward mine takes comes on top, since no function of yours is called for this")


def test_an_estimate_says_nothing_of_rewards_that_nobody_is_asked_for(at, tmp_path):
    spec, _ = counting(tmp_path)
    said = []
    watch = lambda run, stage, state: bool(said.append(estimate(run, stage)) or True)  # noqa: E731
    train(tables(at, {"method": "sft", "steps": 1}, data={"rewards": [spec]}), watch=watch)
    assert said[0].unasked == () and "yours" not in said[0].words


def test_weighing_weights_says_whose_rewards_are_asked_and_leaves_nothing_in_what_they_remember(at, tmp_path, caplog):
    spec, calls = counting(tmp_path)
    anchor = {"name": "elastic", "source": {"name": "groups", "size": 2}, "texts": 2}
    stage = {"method": "sft", "steps": 1, "anchors": [anchor]}
    made, seen = tables(at, stage, data={"rewards": [spec, "episodic"]}), []
    watch = lambda run, stage, state: bool(seen.append(run.rollout) or True)  # noqa: E731
    with caplog.at_level(logging.INFO, "scalpel"):
        train(made, watch=watch)
    assert "rewards mine are called before step 1, on texts" in caplog.text
    assert not any(memory for held in seen[0].remembered.values() for memory in held.values())
    assert not seen[0].record.samples.shares and not seen[0].record.completions
