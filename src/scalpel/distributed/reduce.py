"""One reduction for all numbers that mean something over the whole batch only: counts, and sums of metrics.

    mean = Σ_ranks Σ_micro x / Σ_ranks Σ_micro n        never the mean of the ranks' means

A rank whose half of the batch has fewer trained tokens would otherwise weigh each of them more.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from math import fsum
from typing import TypeVar

from torch import distributed

Name = TypeVar("Name", bound=Hashable)


def ranks() -> int:
    """How many processes train together; 1 outside of a process group."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def largest_over_ranks(number: int) -> int:
    """The largest number that any rank has; all must call this."""
    if ranks() == 1:
        return number
    numbers = [0] * ranks()
    distributed.all_gather_object(numbers, number)
    return max(numbers)


def sum_over_ranks(table: Mapping[Name, float]) -> dict[Name, float]:
    """Each number summed over all ranks, which must all call this. A name that a rank doesn't have counts as 0 there:
    a rank whose share of a batch is empty has no metrics. Every rank gets the same sums, to the last bit, whatever the
    order in which ranks arrive (`fsum` is exact before it rounds)."""
    if ranks() == 1:
        return dict(table)
    tables: list[dict[Name, float]] = [{}] * ranks()
    distributed.all_gather_object(tables, dict(table))
    names = dict.fromkeys(name for one in tables for name in one)
    return {name: fsum(one.get(name, 0.0) for one in tables) for name in names}
