"""The input of a shaping reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from scalpel.data.example import Example

Embed = Callable[[Sequence[str]], Tensor]  # texts → [S, D], of unit length


@dataclass(frozen=True)
class ShapingContext:
    """What a shaping reward sees of a step: completions as answers to examples, the number of the group that each
    belongs to, how long each is in tokens, what those that judge gave each without their weights, its own memory, the
    step's number, and how texts become vectors."""

    examples: Sequence[Example]
    completions: Sequence[str]
    groups: Sequence[int]
    lengths: Sequence[int]
    earned: Sequence[float]
    memory: dict[str, Any]
    step: int
    embed: Embed | None
