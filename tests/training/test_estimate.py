"""The cost that is said beforehand is the cost that comes."""

import json
from math import inf

import pytest
import torch

from running import equal, ran, records, tables
from scalpel.config.merge import merge
from scalpel.engine.head_sizes import HeadSizes
from scalpel.methods import ROWS
from scalpel.runs.folder import RunFolder
from scalpel.training.estimate import estimate
from scalpel.training.loop import train
from scalpel.training.memory import activation_budget, estimate_memory
from scalpel.training.run import TrainingRun

STEPS = {"steps": 12, "batch": 8, "sampling": {"max_tokens": 16}}


def estimated(at, stage: dict, folder):
    """The estimate at the start of a run, and the last record of the run itself."""
    found = []

    def watch(run, stage, state) -> bool:
        if state.global_step == 0:
            found.append(estimate(run, stage))
        return False

    train(tables(at, stage), RunFolder(folder), watch=watch)
    return found[0], records(folder)[-1]


def seconds_of(folder) -> float:
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["seconds"]


@pytest.mark.parametrize("method", ["sft", "grpo", "ppo", "dpo"])
def test_time_is_right_within_a_factor_of_three(at, tmp_path, method):
    train(tables(at, {"method": method, "steps": 1}))  # the first pass of a process is slower
    for attempt in range(3):  # another process may take the machine for a moment
        said, _ = estimated(at, {"method": method, **STEPS}, tmp_path / str(attempt))
        real = seconds_of(tmp_path / str(attempt))
        if real / 3 < said.seconds < real * 3:
            return
    pytest.fail(f"{said.seconds} s were estimated, and {real} s came")


@pytest.mark.parametrize("method", ["sft", "grpo", "ppo", "dpo", "kto", "distill", "prefix-rft", "ift"])
def test_operations_and_tokens_are_right_within_a_quarter(at, tmp_path, method):
    said, last = estimated(at, {"method": method, **STEPS}, tmp_path)
    assert said.steps == 12
    assert said.flops_a_step * 12 == pytest.approx(last["flops"], rel=0.25)
    assert said.trained_a_step * 12 == pytest.approx(last["tokens_trained"], rel=0.25)
    assert last["tokens_sampled"] <= said.sampled_a_step * 12


@pytest.mark.parametrize(("method", "completions"), [("rise", 1 + 16), ("eef", 4 * 4), ("dapo", 16 * 3)])
def test_where_nothing_succeeds_all_that_may_be_sampled_is_and_was_said(at, tmp_path, method, completions):
    hopeless = {"rewards": ["exact"]}
    hopeless |= {"source": {"rounds": 2}, "mini_batches": 1} if method == "dapo" else {}
    stage = {**ROWS[method].stage, **STEPS, "steps": 2, "repeat": 1}
    stage["signals"] = [merge(signal, hopeless) for signal in stage["signals"]]
    said, last = estimated(at, stage, tmp_path)
    assert said.sampled_a_step == 8 * completions * 16
    share = last["tokens_sampled"] / (2 * said.sampled_a_step)
    assert 0.2 < share <= 1.0  # a random model ends some answers, and what a demonstration begins is shorter


@pytest.mark.parametrize(("steps", "batches"), [(1, 1), (4, 1), (6, 2)])
def test_a_batch_within_which_the_stage_ends_is_sampled_whole(at, tmp_path, steps, batches):
    said, last = estimated(at, {"method": "gspo", **STEPS, "steps": steps}, tmp_path)
    assert said.sampled_a_step * steps == pytest.approx(batches * 8 * 8 * 16)
    assert said.flops_a_step * steps == pytest.approx(last["flops"], rel=0.25)


def test_tries_that_a_pretence_does_not_come_to_are_counted_and_said(at):
    found = estimate(*entered(at, method="int", **STEPS))
    assert found.sampled_a_step == 8 * (8 + 1 + 32) * 16
    assert found.further > 2 * found.seconds_a_step and "where little succeeds)" in found.words
    assert "where little" not in estimate(*entered(at, method="grpo", **STEPS)).words


def test_a_budget_is_turned_into_steps(at, tmp_path):
    one, _ = estimated(at, {"method": "sft", **STEPS}, tmp_path / "a")
    budget = {"unit": "flops", "amount": 5 * one.flops_a_step}
    said, _ = estimated(at, {"method": "sft", **STEPS, "budget": budget}, tmp_path / "b")
    assert said.steps == pytest.approx(5, rel=0.01)


@pytest.mark.parametrize("method", ["sft", "ppo"])
def test_estimating_changes_nothing_of_the_run(at, tmp_path, method):
    stage = {"method": method, **STEPS, "steps": 3}
    plain, log = ran(tables(at, stage, "gpt2"), tmp_path / "plain")
    watch = lambda run, stage, state: bool(state.global_step == 0 and estimate(run, stage) is None)  # noqa: E731
    watched, lines = ran(tables(at, stage, "gpt2"), tmp_path / "watched", watch=watch)
    assert equal(plain, watched) and log == lines


def entered(at, **stage):
    run = TrainingRun(tables(at, {"method": "sft", **stage}))
    return run, run.enter(0)


def test_memory_by_hand_where_everything_moves(at):
    run, stage = entered(at, anchors=["l2", "kl"])
    found = estimate(run, stage).memory
    weights_ = 4.0 * sum(p.numel() for p in run.engine.model.parameters())
    assert (found.weights, found.others, found.gradients) == (weights_, weights_, weights_)
    assert found.states == 2 * weights_ and found.copies == weights_  # Adam's two moments; home


def test_memory_by_hand_where_a_few_entries_move(at):
    run, stage = entered(at, scope={"name": "lift", "share": 0.1})
    found = estimate(run, stage).memory
    entries = sum(m.value.numel() for m in stage.scope.trainables)
    whole = sum(m.weight.numel() for m in stage.scope.trainables)
    assert found.states == 8.0 * entries  # only what moves has states
    assert found.gradients == 4.0 * (whole + entries)  # the whole gradient, and the entries gathered from it


def test_activations_grow_with_the_micro_batch_and_not_with_the_batch(at):
    sizes = {}
    for batch, micro in ((8, 64), (16, 64), (16, 16384)):
        sizes[batch, micro] = estimate(*entered(at, batch=batch, micro_tokens=micro)).memory.activations
    assert sizes[16, 64] < 2 * sizes[8, 64]  # a longer sequence may be among the sixteen
    assert sizes[16, 16384] > 1.5 * sizes[16, 64]


@pytest.mark.parametrize(("method", "kept"), [("sft", 0), ("dpo", 1)])
def test_logits_are_counted_as_the_head_that_runs_makes_them(at, method, kept):
    """None are kept for the backward pass where the slope is known ahead."""
    run, stage = entered(at, method=method, batch=16)
    n, V = int(run.rollout.draw(stage, stage.streams[0], 0, 0, 0.0).train_N.sum()), len(run.engine.model.lm_head.weight)
    said = lambda: estimate(run, stage).memory.activations / (4 * V * n)  # noqa: E731  # in whole logits
    found = []
    for chunk, most in ((n, 2**28), (8, 2**28), (8, 0)):
        run.engine.head_sizes = HeadSizes(chunk=chunk, block=2, kept=most)
        found.append(said())
    whole, chunks, again = found
    assert whole - chunks == pytest.approx(1 - 8 / n, abs=0.01) and chunks - again == pytest.approx(kept, abs=0.01)
    # of the plain path, which isn't taken
    run.engine.head_sizes = HeadSizes(chunk=8, block=2, kept=0, plain_chunk=1)
    assert said() == pytest.approx(again, abs=0.01)


def test_where_layers_run_twice_activations_are_less(at):
    run, stage = entered(at, batch=16)
    once = estimate(run, stage).memory.activations
    run.engine.limit_activations(0.0)
    assert estimate(run, stage).memory.activations < once


def test_room_is_what_is_free_less_what_the_first_steps_take(at, monkeypatch):
    run, stage = entered(at)
    needed = estimate_memory(run, stage, 0.0).needed
    monkeypatch.setattr("scalpel.training.memory.free_bytes", lambda device: 1.2 * (needed + 1000.0))
    assert activation_budget(run, stage) == pytest.approx(1000.0)


@pytest.mark.parametrize(("said", "room"), [(True, 0.0), (False, inf)])
def test_the_recipe_may_say_whether_layers_run_twice(at, said, room):
    assert activation_budget(*entered(at, checkpointing=said)) == room


def test_activations_are_what_autograd_holds(at):
    run, stage = entered(at, batch=16)
    batch = run.rollout.draw(stage, stage.streams[0], 0, 0, 0.0)
    held: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in run.engine.model.parameters()}

    def keep(x):
        if x.untyped_storage().data_ptr() not in weights:
            held[x.untyped_storage().data_ptr()] = x.numel() * x.element_size()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        out = run.engine.forward(batch)
    said = estimate(run, stage).memory.activations
    assert 0.8 * sum(held.values()) < said < 5 * sum(held.values()) and out.logp_N.requires_grad


def test_running_out_of_memory_says_what_to_change_and_where_to_go_on(at, tmp_path, monkeypatch):
    recipe = tables(at, {"method": "sft", "checkpoint_every": 2})

    def watch(run, stage, state) -> bool:
        if state.global_step == 2:

            def full(*args, **kwargs):
                raise torch.OutOfMemoryError("CUDA out of memory")

            monkeypatch.setattr(run.engine, "forward", full)
        return False

    with pytest.raises(MemoryError, match=r"step 3 ran out of memory: lower micro_tokens .*checkpoint-2"):
        train(recipe, RunFolder(tmp_path), watch=watch)


def test_another_error_is_left_alone(at, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("scalpel.training.step.Engine.forward", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        train(tables(at, {"method": "sft"}))


def test_an_estimate_reads_as_a_sentence_and_leaves_no_gradients(at):
    run, stage = entered(at, **STEPS)
    words = estimate(run, stage).words
    assert words.startswith("about ") and "for 12 steps" in words and "tokens are trained" in words
    assert all(p.grad is None for p in run.engine.model.parameters())
