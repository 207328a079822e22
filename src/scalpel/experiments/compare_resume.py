"""Opens a folder for a comparison, either a new one or one that is resumed with the recipe and files it began with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scalpel.config.changes import JUDGED, refuse_other_comparison
from scalpel.config.recipe import Recipe, write
from scalpel.runs.atomic import write_json, write_text
from scalpel.runs.folder import environment
from scalpel.runs.json_files import read_json, read_text
from scalpel.training.input_digests import differing, files_of

log = logging.getLogger("scalpel")
INPUTS = "inputs.json"


def occupy(folder: Path, recipe: Recipe, inputs: dict[str, Any], resume: bool) -> None:
    """Begins a comparison in the folder, or resumes it. Raises ValueError where its arms could not be compared, since
    the finished ones ran with another recipe or read other files."""
    path, known = folder / "recipe.toml", folder / INPUTS
    if path.exists() and not resume:
        raise ValueError(f"{folder} already holds a comparison: take another folder (--out), or --resume")
    if path.exists():
        changed = refuse_other_comparison(read_text(path), recipe)
        if differs := differing(read_json(known), inputs) if known.exists() else []:
            raise ValueError(
                f"the files that this comparison reads have changed since it began: {'; '.join(differs)}. Restore "
                "them, or begin a new comparison in another folder (--out)"
            )
        if changed:
            log.warning("resuming with changed keys: %s", "; ".join(map(str, changed)))
    write_text(path, write(recipe))
    write_json(folder / "environment.json", environment())


def read_by(recipes: Sequence[Recipe]) -> dict[str, Any]:
    """Digests of all files that these recipes read."""
    return {"files": {path: about for recipe in recipes for path, about in files_of(recipe).items()}}


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Whether the folder holds a finished comparison of that recipe, without failed runs, whose verdict would be the
    same. Keys that only the verdict depends on, such as the price, need no new runs but a new verdict."""
    path = folder / "comparison.json"
    found = read_json(path, dict) if path.exists() else {}
    if "verdict" not in found or found.get("failed") or found.get("failures"):
        return False
    changed = refuse_other_comparison(read_text(folder / "recipe.toml"), recipe)
    if any(JUDGED.fullmatch(change.key) for change in changed):
        return False
    log.warning("%s is finished: nothing was run, and no file was changed", folder)
    return True
