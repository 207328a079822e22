"""What a checkpoint holds beside the models: where a run stands, and whether it may go on from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scalpel.batch import Batch
from scalpel.job import Job
from scalpel.recipe import Recipe, write
from scalpel.runs import Run, storable
from scalpel.stage import StageRun


@dataclass
class Progress:
    """Where a run stands; all of it is in the checkpoint."""

    stage: int = 0
    step: int = 0  # optimiser steps within the stage
    total: int = 0  # optimiser steps over all stages
    seconds: float = 0.0
    idle: int = 0  # steps in a row that spent nothing
    ended: bool = False  # the stage was ended before its steps or budget were spent
    held: dict[int, Batch] = field(default_factory=dict)  # flow → its batch, while it is reused


def state(job: Job, stage: StageRun, progress: Progress) -> dict[str, Any]:
    """Everything a resumed run needs."""
    held = {k: {**vars(batch), "columns": plain(batch.columns)} for k, batch in progress.held.items()}
    return {"recipe": write(job.recipe), "progress": {**vars(progress), "held": held}, **job.state(stage)}


def restored(saved: Mapping[str, Any]) -> Progress:
    batches = saved["progress"]["held"].items()
    held = {k: Batch(**{**fields, "columns": tuple(fields["columns"])}) for k, fields in batches}
    return Progress(**{**saved["progress"], "held": held})


def plain(value: Any) -> Any:
    """A row's columns as far as JSON can hold them; other values are left out."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value if storable(value) else None


def refuse_other(saved: str, recipe: Recipe) -> None:
    """Raises ValueError if a checkpoint belongs to another recipe: it could not go on as if never stopped."""
    was, now = saved.splitlines(), write(recipe).splitlines()
    for line in sorted(set(was) ^ set(now)):
        side = "then" if line in was else "now"
        raise ValueError(
            f"this run was begun with another recipe ({side}: {line.strip()}), so it can't go on with this one: "
            "resume with the recipe that is written in its folder, or choose another folder (--out)"
        )


def last_good(run: Run | None) -> str:
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
