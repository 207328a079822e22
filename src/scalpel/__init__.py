"""scalpel teaches a language model something new and keeps what it already knew.

    import scalpel

    run = scalpel.train("recipe.toml")                             # a run folder
    books = scalpel.measure(run / "model", base="world-1m", probes="recipe.toml")
    table = scalpel.diff("world-1m", run / "model")

The commands of the terminal are functions of the same names. They are imported when first used.
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

HERE = {
    "Pair": "scalpel.pair",
    "Recipe": "scalpel.recipe",
    "diff": "scalpel.api",
    "generate": "scalpel.api",
    "merge": "scalpel.api",
}
VERBS = ("train", "measure", "compare", "report")  # functions whose names are also those of the submodules behind them

if TYPE_CHECKING:
    from scalpel.api import compare, diff, generate, measure, merge, report, train
    from scalpel.pair import Pair
    from scalpel.recipe import Recipe

__all__ = ["Pair", "Recipe", "compare", "diff", "generate", "measure", "merge", "report", "train"]


class Verb(ModuleType):
    """A submodule that can be called as the command of its name: `scalpel.train(…)` beside `scalpel.train.Progress`."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        return getattr(import_module("scalpel.api"), self.__name__.rpartition(".")[2])(*args, **named)


class Package(ModuleType):
    """This package: makes a submodule callable as soon as it is there, and imports the rest when asked for."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in VERBS and type(value) is ModuleType:
            value.__class__ = Verb
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in VERBS:
            return import_module(f"scalpel.{name}")
        if name in HERE:
            return getattr(import_module(HERE[name]), name)
        raise AttributeError(f"module 'scalpel' has no attribute {name!r}")


sys.modules[__name__].__class__ = Package


def _visible(record: logging.LogRecord) -> bool:
    """In every process, whoever handles its records: no text of others in them can steer a terminal."""
    filtered: bool = import_module("scalpel.visible").record_visible(record)
    return filtered


logging.getLogger("scalpel").addFilter(_visible)
