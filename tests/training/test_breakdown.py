"""What goes wrong along a run: numbers that are none, batches in which there is nothing, a disk that is full."""

import errno
import os

import pytest
import torch

from running import equal, ran, records, tables, weights
from scalpel.runs import folder as run_folder
from scalpel.runs.folder import RunFolder
from scalpel.training.loop import train
from scalpel.training.step import NonFiniteLoss

STEADY = {"method": "sft", "steps": 6, "checkpoint_every": 2}


def poison(step: int, value: float = float("nan")):
    """A watcher that spoils one weight after that step, as an update that overflowed would."""

    def watch(run, stage, state) -> bool:
        if state.global_step == step:
            with torch.no_grad():
                next(iter(run.engine.model.parameters())).view(-1)[-1] = value
                run.engine.model.model.norm.weight[0] = value
        return False

    return watch


def test_a_loss_that_is_no_number_stops_the_run_names_the_batch_and_keeps_the_last_good_checkpoint(at, tmp_path):
    recipe = tables(at, STEADY)
    expected, log = ran(recipe, tmp_path / "whole")
    folder = RunFolder(tmp_path / "a")
    with pytest.raises(NonFiniteLoss) as error:
        train(recipe, folder, watch=poison(3))
    words = str(error.value)
    assert "step 4: the loss is nan on a batch of 4 sequences that begins with" in words
    assert "lower the learning rate" in words and "checkpoint-2, and --resume continues from it" in words
    assert [p.name for p in folder.checkpoints()] == ["checkpoint-2"]
    found, lines = ran(recipe, tmp_path / "a", resume=True)
    assert equal(found, expected) and lines == log


def test_a_gradient_that_overflows_leaves_the_weights_before_the_step_and_saves_them(at, tmp_path, monkeypatch):
    recipe = tables(at, STEADY)
    before: list = []

    def watch(run, stage, state) -> bool:
        if state.global_step == 3:
            before.append(weights(run))
            name, p = next(iter(run.engine.model.named_parameters()))
            p.register_hook(lambda g: g * float("inf"))
        return False

    folder = RunFolder(tmp_path / "a")
    with pytest.raises(NonFiniteLoss, match=r"step 4: the gradient norm is (nan|inf).*checkpoint-3"):
        train(recipe, folder, watch=watch)
    saved = folder.last_checkpoint()["weights"]
    assert all(torch.equal(saved[name], before[0][name]) for name in saved)


def test_a_learning_rate_that_breaks_the_model_is_named_as_the_likely_cause(at, tmp_path):
    recipe = tables(at, {**STEADY, "learning_rate": 1e30, "clip": 0, "optimizer": "sgd", "warmup": 0.0})
    with pytest.raises(NonFiniteLoss, match="lower the learning rate"):
        train(recipe, RunFolder(tmp_path / "a"))


def test_without_a_run_folder_the_words_say_that_nothing_was_saved(at):
    with pytest.raises(NonFiniteLoss, match="nothing was saved, since there is no run folder"):
        train(tables(at, STEADY), watch=poison(1))


def test_no_checkpoint_yet_is_said_as_well(at, tmp_path):
    with pytest.raises(NonFiniteLoss, match="nothing was saved"):
        train(tables(at, STEADY), RunFolder(tmp_path / "a"), watch=poison(1))


@pytest.mark.parametrize("more", [{}, {"anchors": ["kl"]}, {"anchors": ["l2"]}])
def test_a_step_in_which_no_sample_is_accepted_leaves_the_weights_alone_and_the_run_goes_on(at, tmp_path, more):
    stage = {"method": "rejection-sampling", "steps": 3, "signals": {"0": {"source": {"threshold": 2.0}}}, **more}
    recipe = tables(at, stage)
    base = weights(train(tables(at, {**stage, "steps": 1}), watch=lambda *a: True))
    found, log = ran(recipe, tmp_path)
    assert [line["loss"] for line in log] == [0.0, 0.0, 0.0]
    assert log[-1]["tokens_sampled"] > 0
    if more != {"anchors": ["l2"]}:
        assert equal(found, base)


def test_pairs_of_which_none_is_found_are_no_batch(at, tmp_path):
    source = {"name": "preference-pairs", "make": "samples", "threshold": 9.0, "size": 2}
    _, log = ran(tables(at, {"method": "dpo", "steps": 2, "signals": {"0": {"source": source}}}), tmp_path)
    assert [line["loss"] for line in log] == [0.0, 0.0]


@pytest.mark.parametrize("reuse", [1, 2])
def test_an_empty_batch_may_be_held_and_resumed(at, tmp_path, reuse):
    source = {"name": "accepted-samples", "threshold": 2.0}
    signals = [{"source": source, "credit": ["constant"], "objective": "clipped-pg", "updates_per_batch": reuse}]
    recipe = tables(at, {"signals": signals, "steps": 3, "checkpoint_every": 1})
    _, log = ran(recipe, tmp_path)
    assert ran(recipe, tmp_path, resume=True)[1] == log


def test_a_full_disk_stops_the_run_in_words_and_leaves_the_last_checkpoint(at, tmp_path, monkeypatch):
    folder, own = RunFolder(tmp_path / "a"), run_folder.save_file

    def full(tensors, path) -> None:
        if folder.checkpoints():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        own(tensors, path)

    monkeypatch.setattr(run_folder, "save_file", full)
    recipe = tables(at, STEADY)
    with pytest.raises(OSError, match=r"could not write .*checkpoint-4 .*No space left.*--resume"):
        train(recipe, folder)
    assert sorted(p.name for p in (tmp_path / "a" / "checkpoints").iterdir()) == ["checkpoint-2"]
    monkeypatch.undo()
    expected, log = ran(recipe, tmp_path / "whole")
    found, lines = ran(recipe, tmp_path / "a", resume=True)
    assert equal(found, expected) and lines == log


def test_a_fault_in_the_data_of_a_later_step_leaves_the_record_of_those_before(at, tmp_path):
    (at / "picky.py").write_text(
        "calls = []\n"
        "def picky(completions, **columns):\n"
        "    calls.append(1)\n"
        "    return [1.0] * (len(completions) - (len(calls) > 2))\n"
    )
    recipe = tables(at, {"method": "grpo", "steps": 4}, data={"rewards": [f"{at / 'picky.py'}:picky"]})
    with pytest.raises(ValueError, match="picky"):
        train(recipe, RunFolder(tmp_path / "a"))
    assert [line["step"] for line in records(tmp_path / "a")] == [1, 2]
