"""Going on with a run: only with what it began with, or with what may change."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from scalpel.config.changes import Change, refuse_other
from scalpel.config.recipe import Recipe, write
from scalpel.runs.atomic import write_json, write_text
from scalpel.runs.folder import RunFolder, environment
from scalpel.training.input_digests import differing, files_of, rows_of
from scalpel.training.run import TrainingRun

log = logging.getLogger("scalpel")
INSIST = "bring it back as it was; or insist on going on with what is there now (--insist)"


def inputs_of(run: TrainingRun) -> dict[str, Any]:
    """Digests of the files that the recipe names, and of the rows that are trained on."""
    data = [run.rollout.data(stream.task, stream.rewards) for plan in run.plans for stream in plan.streams]
    rows = {task.name: rows_of(examples) for task, examples, _ in data}
    return {"files": files_of(run.recipe), "rows": rows}


def take_up(
    run: TrainingRun, folder: RunFolder, saved: Mapping[str, Any], changed: Sequence[Change], insist: bool
) -> None:
    """Checks what the run reads against its checkpoint, then takes the folder up for this recipe, and notes what is not
    as it was."""
    differs, step = differing(saved.get("inputs", {}), run.inputs), saved["state"]["global_step"]
    refuse_differing(differs, insist)
    folder.keep(saved["lines"], step)
    folder.drop([path for path in folder.checkpoints() if int(path.name.rpartition("-")[2]) > step])
    renewed(folder, run.recipe, changed, differs, step)


def refuse_differing(differs: Sequence[str], insist: bool) -> None:
    if differs and not insist:
        raise ValueError(f"what this run reads is not what it began with: {'; '.join(differs)}. {INSIST.capitalize()}")


def renewed(run: RunFolder, recipe: Recipe, changed: Sequence[Change], differs: Sequence[str], step: int) -> None:
    """The folder's files as of now; changes are logged, and stand in the record."""
    if differs or changed:
        words = [*map(str, changed), *differs]
        log.warning("going on after step %d with changes: %s", step, "; ".join(words))
        run.log({"kind": "changed", "step": step, "what": words})
    if changed:
        write_text(run.folder / "recipe.toml", write(recipe))
    if (run.folder / "environment.json").exists():
        write_json(run.folder / "environment.json", environment())


def changes_since(saved: str, recipe: Recipe, run: RunFolder) -> list[Change]:
    """The keys that changed and may, since that recipe was written."""
    return refuse_other(saved, recipe, run.folder, lower_rate="learning_rate" in run.may_change())
