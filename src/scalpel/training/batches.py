"""The batches that a step learns from: fresh, held over several steps, or drawn ahead."""

from __future__ import annotations

from scalpel.batch import Batch
from scalpel.training.checkpoint import RunState
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun
from scalpel.training.step import prepare


def drawn(job: TrainingRun, stage: StageRun, k: int, progress: RunState, done: float) -> Batch:
    """A new batch from flow k, or the held one while it is reused."""
    stream = stage.plan.streams[k]
    if progress.step % stream.reuse and k in progress.held:
        return progress.held[k]
    batch = prepare(job.engine, stream, sampled(job, stage, k, progress, done), done, stage.reference)
    if stream.reuse > 1:
        progress.held[k] = batch
    return batch


def sampled(job: TrainingRun, stage: StageRun, k: int, progress: RunState, done: float) -> Batch:
    """The batch of flow k for this step, from its source; under a lag it was drawn so many batches ago."""
    stream, waiting = stage.plan.streams[k], progress.waiting.setdefault(k, [])
    while len(waiting) <= stream.lag:
        ahead = len(waiting) * stream.reuse
        if ahead and stage.spec.budget is None and progress.step + ahead >= stage.spec.steps:
            break  # it would never be learnt from
        waiting.append(job.draw(stage, k, progress.step + ahead, progress.total + ahead, done))
    return waiting.pop(0)
