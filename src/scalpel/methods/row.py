"""A row of the table of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """What it is called in words, where it comes from, and its stage in the recipe's own language; `before` and
    `after` are the stages that the paper has around it."""

    title: str
    cite: str
    stage: Mapping[str, Any]
    before: Sequence[Mapping[str, Any]] = ()
    after: Sequence[Mapping[str, Any]] = ()


def one(source: Any, credit: list[Any], objective: Any, **more: Any) -> list[dict[str, Any]]:
    """The usual case: a single signal."""
    return [{"source": source, "credit": credit, "objective": objective, **more}]
