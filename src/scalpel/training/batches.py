"""The batches that a step learns from: fresh, held over several steps, or drawn ahead."""

from __future__ import annotations

import torch

from scalpel.batch import Batch
from scalpel.seeding import derive
from scalpel.training.checkpoint import RunState
from scalpel.training.mini_batches import mini_batch
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
    """What the stream's next step learns from: a new batch or a mini-batch of it; or of the held one, which is used for
    several steps."""
    if state.step % stream.plan.steps_per_batch == 0 or stream.held is None:
        drawn = from_source(run, stage, stream, state, progress)
        batch = prepare(run.engine, stream.plan, drawn, progress, stage.reference)
        if stream.plan.steps_per_batch == 1:
            return batch
        stream.held = batch
    part = mini_batch(stream.held, state.step, stream.plan.mini_batches)
    if stream.plan.mini_batches > 1 and not part.train_N.any():
        run.rollout.record.count("data/empty")
    return part


def from_source(run: TrainingRun, stage: StageRun, stream: StreamRun, state: RunState, progress: float) -> Batch:
    """The stream's batch for this step; under a lag it was drawn so many batches ago."""
    while len(stream.waiting) <= stream.plan.lag:
        ahead = len(stream.waiting) * stream.plan.steps_per_batch
        if ahead and stage.spec.budget is None and state.step + ahead >= stage.spec.steps:
            break  # it would never be learnt from
        batch = run.rollout.draw(stage, stream, state.step + ahead, state.global_step + ahead, progress)
        stream.waiting.append(batch)
    return stream.waiting.pop(0)
