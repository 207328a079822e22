"""Taking a folder up for a comparison: for a new one, or to go on in it with what it was begun with."""

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
    """Takes the folder for this recipe, or goes on in it. Raises ValueError where its arms would not be alike: those
    that are finished ran with another recipe, or read other files."""
    path, known = folder / "recipe.toml", folder / INPUTS
    if path.exists() and not resume:
        raise ValueError(f"{folder} already holds a comparison: take another folder (--out), or --resume")
    if path.exists():
        changed = refuse_other_comparison(read_text(path), recipe)
        if differs := differing(read_json(known), inputs) if known.exists() else []:
            raise ValueError(
                f"what this comparison reads is not what it began with: {'; '.join(differs)}. Bring it back as it was, "
                "or compare anew in another folder (--out)"
            )
        if changed:
            log.warning("going on with changes: %s", "; ".join(map(str, changed)))
    write_text(path, write(recipe))
    write_json(folder / "environment.json", environment())


def read_by(recipes: Sequence[Recipe]) -> dict[str, Any]:
    """Digests of all files that these recipes name."""
    return {"files": {path: about for recipe in recipes for path, about in files_of(recipe).items()}}


def over(folder: Path, recipe: Recipe) -> bool:
    """Whether a comparison of that recipe is finished, with all of its arms, and its verdict would be the same."""
    path = folder / "comparison.json"
    found = read_json(path, dict) if path.exists() else {}
    if "verdict" not in found or found.get("failed") or found.get("failures"):
        return False
    changed = refuse_other_comparison(read_text(folder / "recipe.toml"), recipe)
    if any(JUDGED.fullmatch(change.key) for change in changed):
        return False
    log.warning("%s is finished: nothing was run again, and nothing has changed", folder)
    return True
