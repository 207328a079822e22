"""The batches that a step learns from: fresh, held over several steps, or drawn ahead."""

from __future__ import annotations

import torch

from scalpel.batch import Batch
from scalpel.seeding import derive
from scalpel.training.checkpoint import RunState
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun
from scalpel.training.step import prepare
from scalpel.training.step_record import StepRecord
from scalpel.training.stream import StreamRun


def draw_batches(run: TrainingRun, stage: StageRun, state: RunState, progress: float) -> list[Batch]:
    """One batch a stream for the next step. The sampling temperature follows what all of them sampled."""
    torch.manual_seed(derive(run.recipe.seed, "step", state.global_step) % 2**63)
    run.engine.model.train()
    run.rollout.record = StepRecord()
    batches = [next_batch(run, stage, stream, state, progress) for stream in stage.streams]
    if stage.temperature_controller:
        run.rollout.record.numbers |= stage.temperature_controller.settle()
    return batches


def next_batch(run: TrainingRun, stage: StageRun, stream: StreamRun, state: RunState, progress: float) -> Batch:
    """A new batch of the stream, or the held one while it is used again."""
    if state.step % stream.plan.updates_per_batch and stream.held is not None:
        return stream.held
    drawn = from_source(run, stage, stream, state, progress)
    batch = prepare(run.engine, stream.plan, drawn, progress, stage.reference)
    if stream.plan.updates_per_batch > 1:
        stream.held = batch
    return batch


def from_source(run: TrainingRun, stage: StageRun, stream: StreamRun, state: RunState, progress: float) -> Batch:
    """The stream's batch for this step; under a lag it was drawn so many batches ago."""
    while len(stream.waiting) <= stream.plan.lag:
        ahead = len(stream.waiting) * stream.plan.updates_per_batch
        if ahead and stage.spec.budget is None and state.step + ahead >= stage.spec.steps:
            break  # it would never be learnt from
        batch = run.rollout.draw(stage, stream, state.step + ahead, state.global_step + ahead, progress)
        stream.waiting.append(batch)
    return stream.waiting.pop(0)
