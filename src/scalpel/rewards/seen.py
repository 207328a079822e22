"""The input of a shaping reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from scalpel.data.example import Example

Embed = Callable[[Sequence[str]], Tensor]  # texts → [S, D], unit vectors


@dataclass(frozen=True)
class ShapingContext:
    """The input of a shaping reward: all completions of a step.

    `examples`, `completions`, `groups` and `lengths` (in tokens) have one entry per completion, and so has `earned`,
    the unweighted sum of the judging rewards. `memory` is the reward's own state, which is saved in checkpoints.
    `embed` gives embeddings of texts, where a model is loaded that can.
    """

    examples: Sequence[Example]
    completions: Sequence[str]
    groups: Sequence[int]
    lengths: Sequence[int]
    earned: Sequence[float]
    memory: dict[str, Any]
    step: int
    embed: Embed | None
