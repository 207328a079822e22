"""The batches that a step learns from: fresh, held over several steps, or drawn ahead."""

from __future__ import annotations

from scalpel.batch import Batch
from scalpel.checkpoint import Progress
from scalpel.job import Job
from scalpel.stage import StageRun
from scalpel.step import prepare


def drawn(job: Job, stage: StageRun, k: int, progress: Progress, done: float) -> Batch:
    """A new batch from flow k, or the held one while it is reused."""
    flow = stage.plan.flows[k]
    if progress.step % flow.reuse and k in progress.held:
        return progress.held[k]
    batch = prepare(job.engine, flow, sampled(job, stage, k, progress, done), done, stage.reference)
    if flow.reuse > 1:
        progress.held[k] = batch
    return batch


def sampled(job: Job, stage: StageRun, k: int, progress: Progress, done: float) -> Batch:
    """The batch of flow k for this step, from its source; under a lag it was drawn so many batches ago."""
    flow, waiting = stage.plan.flows[k], progress.waiting.setdefault(k, [])
    while len(waiting) <= flow.lag:
        ahead = len(waiting) * flow.reuse
        if ahead and stage.spec.budget is None and progress.step + ahead >= stage.spec.steps:
            break  # it would never be learnt from
        waiting.append(job.draw(stage, k, progress.step + ahead, progress.total + ahead, done))
    return waiting.pop(0)
