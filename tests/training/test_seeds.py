"""The seed reaches everything: the same one gives the same weights, another one others, each for its own reason."""

import pytest
import torch

from running import equal, tables, weights
from scalpel.training.loop import train
from scalpel.training.run import TrainingRun

REASONS = {
    "the order of the data": ("llama", {"method": "sft"}),
    "dropout": ("gpt2", {"method": "sft", "batch": 24, "clip": 0, "optimizer": "sgd"}),
    "sampling": ("llama", {"method": "grpo", "batch": 24}),
    "masks of the input": ("llama", {"method": "masked-thought", "batch": 24}),
    "the halves that move": ("llama", {"method": "sft", "scope": "hft", "batch": 24}),
    "adapters": ("llama", {"method": "sft", "scope": "lora", "batch": 24}),
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_run_repeats_with_its_seed_and_differs_with_another(at, reason):
    kind, stage = REASONS[reason]
    first, again, other = (
        weights(train(tables(at, {**stage, "steps": 2}, kind, seed=seed, data={"items": 16}))) for seed in (3, 3, 4)
    )
    assert equal(first, again)
    assert not equal(first, other)


def test_without_chance_another_seed_only_changes_the_order(at):
    # all items in each batch, nothing dropped out or sampled: the same step up to the order of additions
    stage = {"method": "sft", "steps": 1, "batch": 16, "optimizer": "sgd"}
    n = len(TrainingRun(tables(at, stage)).rollout.data(None)[1])
    a, b = (weights(train(tables(at, {**stage, "batch": n}, seed=seed))) for seed in (0, 1))
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)


def opened(at, seed: int, stage: dict) -> TrainingRun:
    run = TrainingRun(tables(at, stage, seed=seed))
    run.enter(0)
    return run


def test_adapters_are_created_from_the_seed_alone(at):
    stage = {"method": "sft", "scope": "lora"}
    a = weights(opened(at, 0, stage))
    torch.rand(5)  # what else drew random numbers does not matter
    assert equal(a, weights(opened(at, 0, stage)))
    b = weights(opened(at, 1, stage))
    assert any(not torch.equal(a[n], b[n]) for n in a if "lora_A" in n)


def test_value_heads_are_created_from_the_seed_alone(at):
    heads = []
    for seed in (0, 0, 1):
        run = opened(at, seed, {"method": "ppo"})
        heads.append({n: p.detach().clone() for n, p in run.engine.owned.named_parameters()})
        torch.rand(3)
    assert equal(heads[0], heads[1])


def test_the_order_of_the_data_does_not_depend_on_the_method(at):
    drawn = []
    for method in ("sft", "dft"):
        run = TrainingRun(tables(at, {"method": method}))
        drawn.append(run.rollout.draw(running := run.enter(0), running.streams[0], 2, 2, 0.5).ids_N)
    assert torch.equal(*drawn)


def test_each_stage_sees_the_data_in_an_order_of_its_own(at):
    run = TrainingRun(tables(at, {"method": "sft", "repeat": 2}))
    first, second = (run.rollout.draw(running := run.enter(k), running.streams[0], 0, 0, 0.0).ids_N for k in (0, 1))
    assert first.tolist() != second.tolist()


def test_a_run_does_not_depend_on_random_numbers_drawn_by_who_watches(at):
    stage = {"method": "grpo", "steps": 3}

    def watch(run, stage, state) -> bool:
        torch.manual_seed(len(str(state)))
        run.engine.sample([[9, 10]], run.rollout.sampling(stage.spec))
        return False

    recipe = tables(at, stage)
    assert equal(weights(train(recipe)), weights(train(recipe, watch=watch)))
