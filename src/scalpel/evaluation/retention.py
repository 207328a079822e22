"""Retention of one ability against a floor: whether what a model could do is kept, surely lost, or can't be told.

On n items, r before and s after are right; k are right both times.

    retention = s / r,  the ratio of two paired proportions

A ratio of accuracies, not the share of the known items that are still right: near ties flip in either direction when
nothing but rounding changes, and those that turn right pay for those that turn wrong. The items lost stand in the
ledger all the same.

The interval is Bonett and Price's hybrid of two score intervals, whose quantile is shrunk by how much the two
proportions vary together. Source: Bonett & Price 2006, Statistics in Medicine 25, 3039-3047.
"""

from __future__ import annotations

from math import sqrt
from typing import Literal, NamedTuple

from scipy.stats import norm

Decision = Literal["kept", "lost", "too few items to tell"]


class Retention(NamedTuple):
    """A ratio with its interval; the mean is nan where nothing was right before."""

    mean: float
    low: float
    high: float


def retention(kept: int, lost: int, gained: int, confidence: float = 0.95) -> Retention:
    """The interval of (kept + gained) / (kept + lost), capped at nothing: a ratio above 1 is an improvement."""
    before, after, n = kept + lost, kept + gained, kept + lost + gained
    if before == 0:
        return Retention(float("nan"), 0.0, float("inf"))
    z = float(norm.ppf(0.5 + confidence / 2))
    of_both = sqrt((lost + gained + 2) / ((before + 1) * (after + 1)))
    of_each = sum(sqrt((1 - (x + 1) / (n + 2)) / (x + 1)) for x in (before, after))
    shrunk = z * of_both / of_each
    (low_0, high_0), (low_1, high_1) = score_limits(before, n, shrunk), score_limits(after, n, shrunk)
    return Retention(after / before, low_1 / high_0, high_1 / low_0 if low_0 > 0 else float("inf"))


def score_limits(x: int, n: int, z: float) -> tuple[float, float]:
    """Wilson's score limits of a proportion at a quantile."""
    p, centre = x / n, (2 * x + z * z) / (2 * (n + z * z))
    half = z * sqrt(z * z + 4 * n * p * (1 - p)) / (2 * (n + z * z))
    return max(0.0, centre - half), min(1.0, centre + half)


def decide(found: Retention, floor: float) -> Decision:
    """Lost where the whole interval lies below the floor, kept where it lies at or above it."""
    if found.high < floor:
        return "lost"
    return "kept" if found.low >= floor else "too few items to tell"
