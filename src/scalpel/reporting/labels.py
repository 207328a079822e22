"""Places the labels of points in a scatter plot, so that they hide neither points nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from random import Random
from typing import NamedTuple

LETTER, LINE = 8.4, 18.0  # width of a letter and height of a line of the labels, in pixels
MARK = 12.0  # diameter of a point in pixels
ORDERS = 50  # orders of placement that are tried
POSITIONS = ("top right", "bottom right", "middle right", "top left", "bottom left", "middle left")


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def shared(self, other: Box) -> float:
        """The area of the intersection."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(wide, 0.0) * max(high, 0.0)

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.top - self.bottom)


def place(points: Sequence[tuple[float, float]], names: Sequence[str], size: tuple[float, float]) -> list[str]:
    """For each point, in pixels from the lower left of a plot of that `size`, the side for its label.

    A greedy search: labels are placed one after the other, each on the side where it overlaps the least with points,
    with labels before it and with the outside of the plot. The result depends on the order, so several random orders
    are tried, and the best is taken. The seed is fixed, so that a report is always the same.
    """
    rng, order = Random(0), list(range(len(points)))
    best, least = [POSITIONS[0]] * len(points), inf
    for _ in range(ORDERS):
        sides, hidden = in_order(order, points, names, Box(0.0, 0.0, *size))
        if hidden < least:
            best, least = sides, hidden
        rng.shuffle(order)
    return best


def in_order(
    order: Sequence[int], points: Sequence[tuple[float, float]], names: Sequence[str], whole: Box
) -> tuple[list[str], int]:
    """The side for each point when labels are placed in that order, and the hidden area in square pixels."""
    taken = [Box(x - MARK / 2, y - MARK / 2, x + MARK / 2, y + MARK / 2) for x, y in points]
    sides, total = [POSITIONS[0]] * len(points), 0
    for k in order:
        boxes = {side: label(*points[k], names[k], side) for side in POSITIONS}
        hidden = {s: round(box.area - box.shared(whole) + sum(map(box.shared, taken))) for s, box in boxes.items()}
        sides[k] = min(POSITIONS, key=hidden.__getitem__)
        taken.append(boxes[sides[k]])
        total += hidden[sides[k]]
    return sides, total


def label(x: float, y: float, name: str, side: str) -> Box:
    """The box of a label on that side of a point."""
    across, along = side.split()
    left = x + MARK / 2 if along == "right" else x - MARK / 2 - LETTER * len(name)
    bottom = {"top": y + MARK / 2, "middle": y - LINE / 2, "bottom": y - MARK / 2 - LINE}[across]
    return Box(left, bottom, left + LETTER * len(name), bottom + LINE)
