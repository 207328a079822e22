"""The content of a checkpoint beside the models, and the times at which one is written."""

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
MINUTE = 60.0  # minimal number of seconds between two automatic checkpoints
SHARE = 0.02  # maximal share of the run's time for writing automatic checkpoints


@dataclass
class RunState:
    """The position in a run; all of it is in the checkpoint."""

    stage: int = 0
    step: int = 0  # optimiser steps within the stage
    global_step: int = 0  # optimiser steps over all stages
    seconds: float = 0.0
    idle: int = 0  # consecutive steps that spent nothing of the budget
    ended: bool = False  # the stage was ended before its steps or budget were spent


class Saver:
    """Writes checkpoints during a run: every `checkpoint_every` steps where the recipe sets that; else automatically,
    at most once a minute and so rarely that writing takes at most 2% of the time. Of automatic checkpoints only the
    last is kept, and a full disk doesn't stop the run."""

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
            log.warning("no checkpoint after step %d, but the run continues: %s", state.global_step, error)
        self.last = perf_counter()
        self.took = self.last - started

    def rescue(self, run: TrainingRun, stage: StageRun, state: RunState) -> None:
        """Saves a checkpoint before an error ends the run. If that fails as well, the first error is reported."""
        try:
            self.folder.checkpoint(state.global_step, state_of(run, stage, state))
        except OSError as error:
            log.warning("no checkpoint after step %d: %s", state.global_step, error)
        log.warning("the following error stopped the run after step %d; %s", state.global_step, last_good(self.folder))


def clear_automatic(folder: RunFolder, recipe: Recipe) -> None:
    """Removes the automatic checkpoints of a finished run."""
    if all(stage.checkpoint_every is None for stage in recipe.stages):
        shutil.rmtree(folder.folder / "checkpoints", ignore_errors=True)


def state_of(run: TrainingRun, stage: StageRun, state: RunState) -> dict[str, Any]:
    """Everything a resumed run needs."""
    return {"recipe": write(run.recipe), "inputs": run.inputs, "state": vars(state), **run.state(stage)}


def last_good(folder: RunFolder | None) -> str:
    """The sentence that says where the last checkpoint is."""
    found = folder.checkpoints() if folder else []
    if found:
        return f"the last good state is in {found[-1]}, and --resume continues from it"
    why = "the step of the first checkpoint (checkpoint_every) was not reached" if folder else "there is no run folder"
    return f"nothing was saved, since {why}"
