"""Shaping rewards: by length, and by an episodic memory.

They get all completions of a step at once, the values of the other reward functions, and their own state, which is
saved in checkpoints. They don't apply to trial samples, which are drawn to select prompts or to weigh parameters and
are not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import scalpel.rewards.episodic  # noqa: F401  (registers it)
from scalpel.binding.bounds import Count, Weight
from scalpel.binding.table import bind_table
from scalpel.registry import lookup, register
from scalpel.rewards.seen import ShapingContext

NUMBERS = {int: Count, float: Weight}  # bounds of arguments whose annotation has none


@register("shaping", "brevity")
def brevity(seen: ShapingContext, *, threshold: float = 0.5) -> list[float]:
    """½ for the shortest of a prompt's completions, falling to −½ for the longest; a wrong one gets at most 0.

    λ = ½ − (length − min) / (max − min); the reward is λ if the completion earned `threshold` or more, else min(0, λ).
    It is 0 if all completions of the prompt have the same length.

    Source   Kimi Team 2025 (arXiv 2501.12599), section 2.3.3, length penalty
    """
    lengths: dict[int, list[int]] = {}
    for group, length in zip(seen.groups, seen.lengths, strict=True):
        lengths.setdefault(group, []).append(length)
    found = []
    for group, length, earned in zip(seen.groups, seen.lengths, seen.earned, strict=True):
        low, high = min(lengths[group]), max(lengths[group])
        grade = 0.5 - (length - low) / (high - low) if high > low else 0.0
        found.append(grade if earned >= threshold else min(0.0, grade))
    return found


@register("shaping", "cosine-length")
def cosine_length(
    seen: ShapingContext,
    *,
    most: int = 64,
    right_short: float = 2.0,
    right_long: float = 1.0,
    wrong_short: float = -10.0,
    wrong_long: float = 0.0,
    beyond: float = -10.0,
    threshold: float = 0.5,
) -> list[float]:
    """Right answers earn more the shorter they are, wrong ones lose less the longer they are, along a cosine.

    From `…_short` at length 0 to `…_long` at `most` tokens, and `beyond` for longer ones. An answer is right if the
    judging rewards gave it `threshold` or more. In the paper this reward replaces them: give them weight 0.

    Source   Yeo et al. 2025 (arXiv 2502.03373), section 4.2 and appendix C.1, eq. 1, with its defaults
    """

    def grade(length: int, right: bool) -> float:
        if length >= most:
            return beyond
        short, long = (right_short, right_long) if right else (wrong_short, wrong_long)
        return long + 0.5 * (short - long) * (1 + cos(pi * length / most))

    return [grade(n, e >= threshold) for n, e in zip(seen.lengths, seen.earned, strict=True)]


@dataclass(frozen=True)
class Shape:
    """A shaping reward with its options."""

    name: str
    options: Mapping[str, Any]

    def __call__(self, seen: ShapingContext) -> list[float]:
        return lookup("shaping", self.name)(seen, **self.options)  # type: ignore[no-any-return]


def make(table: Mapping[str, Any], place: str = "reward") -> Shape:
    """A shaping reward from its table: {name = "cosine-length", most = 128}."""
    bound = bind_table("shaping", place, table, named="name", numbers=NUMBERS)
    return Shape(bound.name, bound.arguments)
