"""Isotonic regression, and where a noisy learning curve reaches a level.

The evaluations of a run are noisy: 60 items at an accuracy of 1/2 have a standard error of 6 points. The first
evaluation at or above a level is therefore too early: of several near the level the luckiest is taken. The monotone fit

    f = argmin Σ_i (f_i − y_i)²   subject to f_1 ≤ f_2 ≤ … ≤ f_n

uses all of them; it is found by pooling adjacent violators.

Source   Barlow, Bartholomew, Bremner and Brunk 1972, Statistical Inference under Order Restrictions, section 1.2.
"""

from __future__ import annotations

from collections.abc import Sequence


def isotonic(values: Sequence[float]) -> list[float]:
    """The non-decreasing sequence with the least squared distance from the values."""
    blocks: list[tuple[float, int]] = []  # mean and length
    for value in values:
        mean, length = float(value), 1
        while blocks and blocks[-1][0] >= mean:
            earlier, count = blocks.pop()
            mean, length = (earlier * count + mean * length) / (count + length), count + length
        blocks.append((mean, length))
    return [mean for mean, length in blocks for _ in range(length)]


def crossing(values: Sequence[float], level: float) -> float | None:
    """The position, in units of the index, at which the monotone fit of the values reaches the level, interpolated
    linearly; None where it never does, or where the first value is at or above the level.

    Where the values fall before they rise, as an accuracy does while another form of answer is learnt, the fit is flat
    through the dip, and the level is reached behind it. A block of equal fitted values stands for its middle: the
    values in it are evaluations of one accuracy, as far as they tell, and its first position would again be the
    luckiest.
    """
    if len(values) == 0 or values[0] >= level:
        return None
    knots = middles(isotonic(values))
    if knots[0][1] >= level:
        return None
    for (start, low), (end, high) in zip(knots, knots[1:], strict=False):
        if high >= level:
            return start + (end - start) * (level - low) / (high - low)
    return None


def middles(fitted: Sequence[float]) -> list[tuple[float, float]]:
    """Each block of equal fitted values as (its middle position, the value)."""
    found: list[tuple[float, float]] = []
    start = 0
    for end in range(1, len(fitted) + 1):
        if end == len(fitted) or fitted[end] != fitted[start]:
            found.append(((start + end - 1) / 2, fitted[start]))
            start = end
    return found


def interpolated(values: Sequence[float], at: float) -> float:
    """The value at a position between two indices, linearly."""
    low = min(int(at), len(values) - 1)
    high = min(low + 1, len(values) - 1)
    return values[low] + (at - low) * (values[high] - values[low])
