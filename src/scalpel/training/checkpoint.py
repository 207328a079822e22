"""What a checkpoint holds beside the models: where a run stands, and whether it may go on from there."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from scalpel.batch import Batch
from scalpel.config.recipe import Recipe, write
from scalpel.runs.folder import KEPT, RunFolder, storable
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun

log = logging.getLogger("scalpel")
MINUTE = 60.0  # seconds between two checkpoints by time, at least
SHARE = 0.02  # of a run's time that writing them may take


@dataclass
class RunState:
    """Where a run stands; all of it is in the checkpoint."""

    stage: int = 0
    step: int = 0  # optimiser steps within the stage
    total: int = 0  # optimiser steps over all stages
    seconds: float = 0.0
    idle: int = 0  # steps in a row that spent nothing
    ended: bool = False  # the stage was ended before its steps or budget were spent
    held: dict[int, Batch] = field(default_factory=dict)  # flow → its batch, while it is reused
    waiting: dict[int, list[Batch]] = field(default_factory=dict)  # flow → batches drawn ahead, under a lag


class Saver:
    """Writes checkpoints along the way: every so many steps, where a recipe says so; else by time, once a minute at
    most and so seldom that writing them takes at most a fiftieth of the run. Of those only the last is kept, and a
    disk that is full does not stop the run."""

    def __init__(self, run: RunFolder) -> None:
        self.run, self.last, self.took = run, perf_counter(), 0.0

    def due(self, every: int | None, step: int) -> bool:
        if every is not None:
            return every > 0 and step % every == 0
        return perf_counter() - self.last >= max(MINUTE, self.took / SHARE)

    def save(self, job: TrainingRun, stage: StageRun, progress: RunState, needed: bool = False) -> None:
        by_time = stage.spec.checkpoint_every is None
        started = perf_counter()
        try:
            self.run.checkpoint(progress.total, state(job, stage, progress), 1 if by_time else KEPT)
        except OSError as error:
            if needed or not by_time:
                raise
            log.warning("no checkpoint after step %d, the run goes on: %s", progress.total, error)
        self.last = perf_counter()
        self.took = self.last - started

    def rescue(self, job: TrainingRun, stage: StageRun, progress: RunState) -> None:
        """Saves where a run stands before an error ends it. If that fails as well, the error is what is told."""
        try:
            self.run.checkpoint(progress.total, state(job, stage, progress))
        except OSError as error:
            log.warning("no checkpoint after step %d: %s", progress.total, error)
        log.warning("what follows stopped the run after step %d; %s", progress.total, last_good(self.run))


def clear_automatic(run: RunFolder, recipe: Recipe) -> None:
    """A run that is over needs no checkpoint that it wrote by time."""
    if all(stage.checkpoint_every is None for stage in recipe.stages):
        shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)


def state(job: TrainingRun, stage: StageRun, progress: RunState) -> dict[str, Any]:
    """Everything a resumed run needs."""
    held = {k: fields(batch) for k, batch in progress.held.items()}
    waiting = {k: [fields(batch) for batch in batches] for k, batches in progress.waiting.items()}
    where = {**vars(progress), "held": held, "waiting": waiting}
    return {"recipe": write(job.recipe), "inputs": job.inputs, "progress": where, **job.state(stage)}


def restored(saved: Mapping[str, Any]) -> RunState:
    where = saved["progress"]
    held = {k: batch_of(batch) for k, batch in where["held"].items()}
    waiting = {k: [batch_of(batch) for batch in batches] for k, batches in where["waiting"].items()}
    return RunState(**{**where, "held": held, "waiting": waiting})


def fields(batch: Batch) -> dict[str, Any]:
    return {**vars(batch), "columns": plain(batch.columns)}


def batch_of(saved: Mapping[str, Any]) -> Batch:
    return Batch(**{**saved, "columns": tuple(saved["columns"])})


def plain(value: Any) -> Any:
    """A row's columns as far as JSON can hold them; other values are left out."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value if storable(value) else None


def last_good(run: RunFolder | None) -> str:
    """Where the last checkpoint is, in words."""
    found = run.checkpoints() if run else []
    if found:
        return f"the last good state is in {found[-1]}, and --resume goes on from it"
    why = (
        "checkpoint_every, which writes checkpoints along the way, had not come round"
        if run
        else "there is no run folder"
    )
    return f"nothing was saved, since {why}"
