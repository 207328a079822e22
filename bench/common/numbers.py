"""Medians, spread, and growth exponents."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from statistics import fmean, median
from typing import NamedTuple


class Middle(NamedTuple):
    """A median with the least and the greatest value beside it."""

    median: float
    least: float
    most: float


def middle(values: Sequence[float]) -> Middle:
    if not values:
        raise ValueError("there is no measured step: take at least one after the warm-up (--steps)")
    return Middle(median(values), min(values), max(values))


class Growth(NamedTuple):
    """y ≈ c·x^exponent, with the exponent's standard error."""

    exponent: float
    error: float


def growth(x: Sequence[float], y: Sequence[float]) -> Growth:
    """Least squares on log y = log c + b·log x; the error of b is √(Σ residual² / (n − 2) / Σ (log x − mean)²)."""
    if len(x) != len(y) or len(x) < 3:
        raise ValueError(f"{len(x)} sizes and {len(y)} values: an exponent and its error need three of each")
    if min(*x, *y) <= 0:
        raise ValueError(f"sizes {list(x)} and values {list(y)} must be positive: logarithms are taken")
    u, v = [log(a) for a in x], [log(b) for b in y]
    u0, v0 = fmean(u), fmean(v)
    width = sum((a - u0) ** 2 for a in u)
    if width == 0:
        raise ValueError(f"the sizes {list(x)} are all the same: nothing grows")
    b = sum((p - u0) * (q - v0) for p, q in zip(u, v, strict=True)) / width
    rest = sum((q - v0 - b * (p - u0)) ** 2 for p, q in zip(u, v, strict=True))
    return Growth(b, sqrt(rest / (len(x) - 2) / width))


def bytes_in_words(n: float) -> str:
    return f"{n / 1e9:.2f} GB" if n >= 1e9 else f"{n / 1e6:.0f} MB"
