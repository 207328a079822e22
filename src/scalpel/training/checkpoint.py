"""What a checkpoint holds beside the models, and when one is written."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from scalpel.config.recipe import Recipe, write
from scalpel.runs.folder import KEPT, RunFolder
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
    global_step: int = 0  # optimiser steps over all stages
    seconds: float = 0.0
    idle: int = 0  # steps in a row that spent nothing
    ended: bool = False  # the stage was ended before its steps or budget were spent


class Saver:
    """Writes checkpoints along the way: every so many steps, where a recipe says so; else by time, once a minute at
    most and so seldom that writing them takes at most a fiftieth of the run. Of those only the last is kept, and a
    disk that is full does not stop the run."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.last, self.took = folder, perf_counter(), 0.0

    def due(self, every: int | None, step: int) -> bool:
        if every is not None:
            return every > 0 and step % every == 0
        return perf_counter() - self.last >= max(MINUTE, self.took / SHARE)

    def save(self, run: TrainingRun, stage: StageRun, state: RunState, needed: bool = False) -> None:
        by_time = stage.spec.checkpoint_every is None
        started = perf_counter()
        try:
            self.folder.checkpoint(state.global_step, state_of(run, stage, state), 1 if by_time else KEPT)
        except OSError as error:
            if needed or not by_time:
                raise
            log.warning("no checkpoint after step %d, the run goes on: %s", state.global_step, error)
        self.last = perf_counter()
        self.took = self.last - started

    def rescue(self, run: TrainingRun, stage: StageRun, state: RunState) -> None:
        """Saves where a run stands before an error ends it. If that fails as well, the error is what is told."""
        try:
            self.folder.checkpoint(state.global_step, state_of(run, stage, state))
        except OSError as error:
            log.warning("no checkpoint after step %d: %s", state.global_step, error)
        log.warning("what follows stopped the run after step %d; %s", state.global_step, last_good(self.folder))


def clear_automatic(folder: RunFolder, recipe: Recipe) -> None:
    """A run that is over needs no checkpoint that it wrote by time."""
    if all(stage.checkpoint_every is None for stage in recipe.stages):
        shutil.rmtree(folder.folder / "checkpoints", ignore_errors=True)


def state_of(run: TrainingRun, stage: StageRun, state: RunState) -> dict[str, Any]:
    """Everything a resumed run needs."""
    return {"recipe": write(run.recipe), "inputs": run.inputs, "state": vars(state), **run.state(stage)}


def last_good(folder: RunFolder | None) -> str:
    """Where the last checkpoint is, in words."""
    found = folder.checkpoints() if folder else []
    if found:
        return f"the last good state is in {found[-1]}, and --resume goes on from it"
    why = (
        "checkpoint_every, which writes checkpoints along the way, had not come round"
        if folder
        else "there is no run folder"
    )
    return f"nothing was saved, since {why}"
