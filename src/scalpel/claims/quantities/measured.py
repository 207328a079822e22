"""Registration of quantities, and estimates of an arm over its seeds and items.

Items are named by what they are and seeds by their numbers, so two arms with the same seeds and items are compared in
pairs, and so are two probes of one arm that ask the same items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

import numpy as np

from scalpel.evaluation.crossed import Estimate, average, estimate
from scalpel.evaluation.results import ArmResults, Table
from scalpel.registry import register, unknown

POINTS, PERCENT = "points", "%"  # units of shares and of relative sizes: 0.01 is one point, or 1%


class Missing(ValueError):
    """The runs don't hold the number: the arm never got that far, or it was not measured."""


Quantity = Callable[..., Estimate]
UNITS: dict[str, str] = {}


def quantity(name: str, unit: str) -> Callable[[Quantity], Quantity]:
    """Decorator: registers a function of an arm under the name by which claims ask for it."""

    def enter(fn: Quantity) -> Quantity:
        register("quantity", name)(fn)
        UNITS[name] = unit
        return fn

    return enter


Values = tuple[str, np.ndarray, tuple[float, float]]  # which items, their values_SI, and the ends of their range
UNBOUNDED = (-inf, inf)


def over(arm: ArmResults, tables: Iterable[Values]) -> Estimate:
    """The mean over tables of each table's mean."""
    return average([estimate(tuple(arm.seeds), *table) for table in tables])


def by_seed(arm: ArmResults, values: Iterable[float | None], what: str) -> Estimate:
    """The mean of one number a seed; Missing where a seed has none."""
    found = list(values)
    known = [value for value in found if value is not None]
    if len(known) < len(found):
        raise Missing(f"{arm.name}: {what} in {len(known)} of {len(found)} seeds")
    return over(arm, [("one", np.array(known)[:, None], UNBOUNDED)])


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
