"""Resuming a run, with the inputs that it began with and a recipe in which only some keys may have changed."""

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
INSIST = "restore them, or continue with the present ones (--insist)"


def inputs_of(run: TrainingRun) -> dict[str, Any]:
    """Digests of the files that the recipe names, and of the trained rows."""
    data = [run.rollout.data(stream.task, stream.rewards) for plan in run.plans for stream in plan.streams]
    rows = {task.name: rows_of(examples) for task, examples, _ in data}
    return {"files": files_of(run.recipe), "rows": rows}


def restore_run(
    run: TrainingRun, folder: RunFolder, saved: Mapping[str, Any], changed: Sequence[Change], insist: bool
) -> None:
    """Checks the inputs of a run against its checkpoint, drops records after the checkpoint, and records what has
    changed."""
    differs, step = differing(saved.get("inputs", {}), run.inputs), saved["state"]["global_step"]
    refuse_differing(differs, insist)
    folder.keep(saved["lines"], step)
    folder.drop([path for path in folder.checkpoints() if int(path.name.rpartition("-")[2]) > step])
    renewed(folder, run.recipe, changed, differs, step)


def refuse_differing(differs: Sequence[str], insist: bool) -> None:
    if differs and not insist:
        raise ValueError(f"inputs of this run have changed since it began: {'; '.join(differs)}. {INSIST.capitalize()}")


def renewed(run: RunFolder, recipe: Recipe, changed: Sequence[Change], differs: Sequence[str], step: int) -> None:
    """Updates the folder's recipe and environment; changes are logged and recorded in metrics.jsonl."""
    if differs or changed:
        words = [*map(str, changed), *differs]
        log.warning("resuming after step %d with changes: %s", step, "; ".join(words))
        run.log({"kind": "changed", "step": step, "what": words})
    if changed:
        write_text(run.folder / "recipe.toml", write(recipe))
    if (run.folder / "environment.json").exists():
        write_json(run.folder / "environment.json", environment())


def changes_since(saved: str, recipe: Recipe, run: RunFolder) -> list[Change]:
    """The keys that changed since that recipe was written; raises ValueError for one that may not."""
    return refuse_other(saved, recipe, run.folder, lower_rate="learning_rate" in run.may_change())
