"""scalpel teaches a language model something new and keeps what it already knew.

    import scalpel

    run = scalpel.train("recipe.toml")                             # a run folder
    books = scalpel.measure(run / "model", base="world-1m", probes="recipe.toml")
    table = scalpel.diff("world-1m", run / "model")

The commands of the terminal are functions of the same names. They are imported when first used.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

HERE = {
    "Pair": "scalpel.pair",
    "Recipe": "scalpel.config.recipe",
    **dict.fromkeys(["compare", "diff", "generate", "measure", "merge", "report", "train"], "scalpel.api"),
}

if TYPE_CHECKING:
    from scalpel.api import compare, diff, generate, measure, merge, report, train
    from scalpel.config.recipe import Recipe
    from scalpel.pair import Pair

__all__ = ["Pair", "Recipe", "compare", "diff", "generate", "measure", "merge", "report", "train"]


def __getattr__(name: str) -> Any:
    """Imports what is asked for when it is asked for, so that `import scalpel` alone costs nothing."""
    if name in HERE:
        return getattr(import_module(HERE[name]), name)
    raise AttributeError(f"module 'scalpel' has no attribute {name!r}")


def _visible(record: logging.LogRecord) -> bool:
    """In every process, whoever handles its records: no text of others in them can steer a terminal."""
    filtered: bool = import_module("scalpel.runs.visible").record_visible(record)
    return filtered


logging.getLogger("scalpel").addFilter(_visible)
