"""scalpel's side, through what a user calls: a recipe in the training loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bench.common.machine import now_bytes
from bench.sides.recipes import recipe
from scalpel.config.recipe import Recipe
from scalpel.training.loop import RunState, train
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun


def training(turn: Any, **asked: Any) -> dict[str, Any]:
    """A training bench: one step of the loop a turn."""
    return follow(turn, recipe(**asked))


def follow(turn: Any, planned: Recipe) -> dict[str, Any]:
    """Runs a recipe; every step is reported and waits for its turn."""
    last: dict[str, Any] = {}
    spent = {"tokens_trained": 0, "flops": 0.0}
    rest: dict[str, Any] = {}

    def tell(record: Mapping[str, Any]) -> None:
        last.update(loss=record["loss"], gradient_norm=record["gradient_norm"], reward=record.get("reward"))
        last.update(
            trained=record["tokens_trained"] - spent["tokens_trained"], metered=record["flops"] - spent["flops"]
        )
        spent.update({name: record[name] for name in spent})

    def watch(job: TrainingRun, stage: StageRun, state: RunState) -> bool:
        if not state.global_step:
            rest.update(at_rest=now_bytes(str(job.device)), precision=precision_of(job, stage))
        turn(**last)
        return False

    job = train(planned, watch=watch, tell=tell)
    size = sum(p.numel() for p in job.engine.model.parameters())
    return {**rest, "parameters": size, "threads": torch.get_num_threads()}


def precision_of(job: TrainingRun, stage: StageRun) -> str:
    """Of weights, arithmetic and what the optimiser moves; its states are in the precision of the latter."""
    weights, moving = (
        sorted({str(p.dtype)[6:] for p in found}) for found in (job.engine.model.parameters(), stage.named().values())
    )
    return (
        f"weights {' and '.join(weights)}, arithmetic {job.engine.precision}, optimiser states {' and '.join(moving)}"
    )
