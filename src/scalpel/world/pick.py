"""Random choices about three times as fast as `Random.choice` and `Random.randint`, for a corpus of many millions of
tokens. They differ from the standard ones in the numbers that a seed gives."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


def pick(rng: Random, options: Sequence[T]) -> T:
    """One of the options."""
    return options[int(rng.random() * len(options))]


def number(rng: Random, least: int, most: int) -> int:
    """A uniform integer from least to most, both included."""
    return least + int(rng.random() * (most - least + 1))
