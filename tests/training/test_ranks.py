"""The loop's own step on two ranks under DDP, whose shares of a batch differ, is the step of one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ranks import on_ranks
from running import tables
from scalpel.batch import Batch
from scalpel.distributed.wrap import replicated
from scalpel.training.batches import draw_batches
from scalpel.training.checkpoint import RunState
from scalpel.training.loop import take_step
from scalpel.training.run import TrainingRun

# a micro-batch holds one sequence or group; plain gradient descent, since Adam makes steps of rounding errors
COMMON = {"steps": 2, "micro_tokens": 1, "optimizer": "sgd", "learning_rate": 0.3, "clip": 0.05}
POLICY = {"name": "policy", "source": "groups", "credit": ["group-zscore"], "objective": "clipped-pg"}
STAGES: dict[str, dict[str, Any]] = {
    "sft": {**COMMON, "method": "sft"},
    "grpo, with a reference": {**COMMON, "method": "grpo", "anchors": ["kl"]},
    "with a value head": {**COMMON, "name": "valued", "signals": [POLICY, {"name": "value", "objective": "value"}]},
}


def share(batch: Batch, rank: int | None, step: int) -> Batch:
    """Three quarters of the groups and one in the first step; in the second one the second rank has none."""
    group_S = batch.dense_group_S()
    first_S = group_S < (1 if step else 0.75) * (int(group_S.max()) + 1)
    return batch if rank is None else batch.pick((first_S == (rank == 0)).nonzero()[:, 0])


def stepped(at: Path, rank: int | None, stage: dict[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """All weights after two steps, and what the loop says of each."""
    run, state, said = TrainingRun(tables(at, stage)), RunState(), []
    entered = run.enter(0)
    if rank is not None:
        run.engine.wrap(replicated)
    for step in range(2):
        batches = [share(batch, rank, step) for batch in draw_batches(run, entered, state, step / 2)]
        said.append(take_step(run, entered, state, batches, step / 2))
        state.step = state.global_step = step + 1
    named = dict(run.engine.policy.named_parameters())
    return {name: p.detach().clone() for name, p in named.items()}, said


def work(rank: int, at: Path) -> dict[str, Any]:
    return {name: stepped(at, rank, stage) for name, stage in STAGES.items()}


@pytest.fixture(scope="module")
def both(at: Path) -> list[dict[str, Any]]:
    return on_ranks(work, 2, at)


@pytest.mark.parametrize("name", STAGES)
def test_two_steps_of_two_ranks_with_unequal_shares_are_those_of_one_process(at, both, name) -> None:
    expected, log = stepped(at, None, STAGES[name])
    before = dict(TrainingRun(tables(at, STAGES[name])).engine.policy.named_parameters())
    (one, first), (other, second) = (found[name] for found in both)
    assert max(float((expected[key] - p).detach().abs().max()) for key, p in before.items()) > 1e-3
    for key, p in expected.items():
        torch.testing.assert_close(one[key], p, rtol=1e-5, atol=1e-6, msg=lambda said, key=key: f"{key}: {said}")
        assert torch.equal(one[key], other[key])
    for mine, theirs, whole in zip(first, second, log, strict=True):
        assert mine["gradient_norm"] == theirs["gradient_norm"] == pytest.approx(whole["gradient_norm"], rel=1e-4)
        assert mine["tokens_trained_share"] == pytest.approx(whole["tokens_trained_share"])
