"""A row of the table of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """A published method: its title, its citation, and its stage with the keys of a recipe; `before` and `after` are
    the stages that the paper has around it, in order."""

    title: str
    cite: str
    stage: Mapping[str, Any]
    before: Sequence[Mapping[str, Any]] = ()
    after: Sequence[Mapping[str, Any]] = ()


def one(source: Any, credit: list[Any], objective: Any, **more: Any) -> list[dict[str, Any]]:
    """The `signals` of a stage with a single signal."""
    return [{"source": source, "credit": credit, "objective": objective, **more}]
