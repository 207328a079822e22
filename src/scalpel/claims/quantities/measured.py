"""What a quantity is: a number of one arm, with the replicates from which differences get intervals.

Items are resampled by what they are and seeds by their numbers, so two arms with the same seeds and items are compared
in pairs, and so are two probes of one arm that ask the same items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from scalpel.evaluation.results import ArmResults, Table
from scalpel.evaluation.statistics import replicates
from scalpel.registry import register, unknown

POINTS, PERCENT = "points", "%"  # units of shares and of relative sizes: 0.01 is one point, or 1%


class Missing(ValueError):
    """The runs don't hold the number: the arm never got that far, or it was not measured."""


class Measured(NamedTuple):
    """A mean over seeds and items, with its replicates (axis B)."""

    mean: float
    replicates_B: np.ndarray
    seeds: float  # how many it was seen in; a constant is the same in all there are

    def minus(self, other: Measured) -> Measured:
        least = min(self.seeds, other.seeds)
        return Measured(self.mean - other.mean, self.replicates_B - other.replicates_B, least)


Quantity = Callable[..., Measured]
UNITS: dict[str, str] = {}


def quantity(name: str, unit: str) -> Callable[[Quantity], Quantity]:
    """Decorator: registers a function of an arm under the name by which claims ask for it."""

    def enter(fn: Quantity) -> Quantity:
        register("quantity", name)(fn)
        UNITS[name] = unit
        return fn

    return enter


Values = tuple[str, np.ndarray, tuple[float, float] | None]  # which items, their values_SI, and the ends of their range


def over(arm: ArmResults, tables: Iterable[Values]) -> Measured:
    """The mean over tables of each table's mean."""
    named = f"numbers {arm.seeds}"
    means, found = [], []
    for items, values_SI, ends in tables:
        means.append(float(values_SI.mean()))
        found.append(replicates(values_SI, seeds_of=named, items_of=items, ends=ends))
    return Measured(float(np.mean(means)), np.mean(found, axis=0), len(arm.runs))


def by_seed(arm: ArmResults, values: Iterable[float | None], what: str) -> Measured:
    """The mean of one number a seed; Missing where a seed has none."""
    found = list(values)
    known = [value for value in found if value is not None]
    if len(known) < len(found):
        raise Missing(f"{arm.name}: {what} in {len(known)} of {len(found)} seeds")
    return over(arm, [("one", np.array(known)[:, None], None)])


def probe_of(arm: ArmResults, name: str, judged: bool = True) -> Table:
    """The arm's table of that probe."""
    if name not in arm.tables:
        raise ValueError(unknown("probe", name, arm.tables))
    table = arm.tables[name]
    if judged and not table.judged:
        raise ValueError(f"probe {name!r} knows no right and wrong: ask for its value, or take a probe that does")
    return table


def items_of(table: Table) -> str:
    """A name that tables with the same items share."""
    return "\n".join(table.ids)
