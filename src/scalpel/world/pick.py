"""Draws that are three times as fast as the standard ones, for a corpus of hundreds of millions of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


def pick(rng: Random, options: Sequence[T]) -> T:
    """One of the options."""
    return options[int(rng.random() * len(options))]


def number(rng: Random, least: int, most: int) -> int:
    """A whole number from least to most, both included."""
    return least + int(rng.random() * (most - least + 1))
