"""A row of the table of methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """What it is called in words, where it comes from, and its stage in the recipe's own language."""

    title: str
    cite: str
    stage: Mapping[str, Any]


def one(source: Any, credit: list[Any], objective: Any, **more: Any) -> list[dict[str, Any]]:
    """The usual case: a single signal."""
    return [{"source": source, "credit": credit, "objective": objective, **more}]
