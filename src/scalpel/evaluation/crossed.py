"""Means over crossed seeds and items: every seed is measured on the same items.

    x_si = μ + seed_s + item_i + (seed × item)_si,     the estimate is the mean m over S seeds and I items

    V_seeds = var(m_s) / S,   m_s the mean of seed s             Student's t with S − 1 degrees of freedom
    V_items = max(0, var(m_i) / I − MS_interaction / (S I))      Student's t with I − 1
    half width = √(t²_{S−1} V_seeds + t²_{I−1} V_items)

Of two arms whose seeds are independent V_seeds is the sum of both, with Welch's degrees of freedom; their items are the
same, so m_i is the difference of both means on item i.

Each component of variance keeps its own quantile, so that three seeds which happen to agree don't lend their small
variance the many degrees of freedom of the items; with one quantile for the sum (Satterthwaite 1946) the simulated
coverage of nominal 95% fell to 92% at three seeds. tests/evaluation/test_coverage.py simulates that of these intervals.

Source: analysis of variance of a two-way layout without replication (Searle, Casella & McCulloch 1992, chapter 4);
the sum of squared half widths is the method of variance estimates recovery (Zou & Donner 2008, Statist. Med. 27, 1693).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from math import inf, isfinite, sqrt

import numpy as np
from scipy.special import stdtrit

from scalpel.evaluation.statistics import CONFIDENCE, Interval, wilson

Seeds = tuple[int | str, ...]  # what names a group of seeds: their numbers, and an arm's name where others have theirs


@dataclass(frozen=True)
class Values:
    """One number for each seed and item, [S, I], and the least and the greatest that such a number can be.

    `width` is the range of a single item's number, where that is narrower: a change of right answers lies in [−1, 1],
    but an item that was right before can change by 0 or −1 only. So the difference of two arms' changes lies in
    [−1, 1], too, and not in [−2, 2].
    """

    x_SI: np.ndarray
    low: float = -inf
    high: float = inf
    width: float = inf

    def plus(self, other: Values) -> Values:
        """Item by item: ranges and widths add up, and no range is wider than the width."""
        low, high, width = self.low + other.low, self.high + other.high, self.width + other.width
        if high - low > width:
            low, high = (low + high - width) / 2, (low + high + width) / 2
        return Values(self.x_SI + other.x_SI, low, high, width)

    def times(self, factor: float) -> Values:
        if factor == 0:
            return Values(0.0 * self.x_SI, 0.0, 0.0, 0.0)
        low, high = sorted((factor * self.low, factor * self.high))
        return Values(factor * self.x_SI, low, high, abs(factor) * self.width)

    @cached_property
    def padded_SI(self) -> np.ndarray:
        """With one item of the least and one of the greatest value, where these are known. They keep an interval of
        some width for "all 50 of 50" (the idea of Agresti & Coull 1998)."""
        if not (isfinite(self.low) and isfinite(self.high)):
            return self.x_SI
        found = np.empty((self.x_SI.shape[0], self.x_SI.shape[1] + 2))
        found[:, :-2], found[:, -2], found[:, -1] = self.x_SI, self.low, self.high
        return found


@dataclass(frozen=True)
class Component:
    """A part of the variance of an estimate, with its degrees of freedom."""

    variance: float
    freedom: float

    def half(self, confidence: float) -> float:
        """Half the width of an interval that had this component alone."""
        return quantile(confidence, self.freedom) * sqrt(self.variance)


@cache
def quantile(confidence: float, freedom: float) -> float:
    """Student's two-sided quantile."""
    return float(stdtrit(freedom, 0.5 + confidence / 2))


@dataclass(frozen=True)
class Estimate:
    """A sum of means of tables, and a constant. Tables are named by their group of seeds and by what their items are.
    What is added or subtracted is paired item by item where the items are the same, and seed by seed where the group
    is; the seeds of different groups are independent."""

    tables: Mapping[tuple[Seeds, str], Values] = field(default_factory=dict)
    constant: float = 0.0

    @property
    def mean(self) -> float:
        return self.constant + sum(float(values.x_SI.mean()) for values in self.tables.values())

    @property
    def seeds(self) -> float:
        """The fewest seeds that any of its tables has; a constant is the same in all that there are."""
        return min((len(values.x_SI) for values in self.tables.values()), default=inf)

    @property
    def groups(self) -> list[Seeds]:
        return list(dict.fromkeys(seeds for seeds, _ in self.tables))

    def by_seed(self, seeds: Seeds) -> np.ndarray:
        """[S]: the estimate in each of these seeds, without the constant."""
        found = [values.x_SI.mean(1) for (of, _), values in self.tables.items() if of == seeds]
        return np.asarray(np.sum(found, axis=0))

    def plus(self, other: Estimate) -> Estimate:
        tables = dict(self.tables)
        for name, values in other.tables.items():
            tables[name] = tables[name].plus(values) if name in tables else values
        return Estimate(tables, self.constant + other.constant)

    def times(self, factor: float) -> Estimate:
        return Estimate({name: values.times(factor) for name, values in self.tables.items()}, factor * self.constant)

    def minus(self, other: Estimate) -> Estimate:
        return self.plus(other.times(-1.0))

    def seed_component(self) -> Component | None:
        """Between seeds: the sum over groups, with the degrees of freedom of Welch (1947). A single seed says nothing
        of others and has no part in it."""
        return self._components[0]

    def item_components(self) -> list[Component]:
        """Between items, one component for each set of items."""
        return self._components[1]

    @cached_property
    def _components(self) -> tuple[Component | None, list[Component]]:
        return self._between_seeds(), self._between_items()

    def _between_seeds(self) -> Component | None:
        found = []
        for group in self.groups:
            padded = [values.padded_SI.mean(1) for (of, _), values in self.tables.items() if of == group]
            if (seeds := len(padded[0])) > 1:
                found.append(Component(float(np.var(np.sum(padded, axis=0), ddof=1)) / seeds, seeds - 1))
        total = sum(c.variance for c in found)
        if not total:
            return None
        return Component(total, total**2 / sum(c.variance**2 / c.freedom for c in found))

    def _between_items(self) -> list[Component]:
        sets = dict.fromkeys(items for _, items in self.tables)
        tables = [[values.padded_SI for (_, of), values in self.tables.items() if of == items] for items in sets]
        return [component for tables_SI in tables if (component := between_items(tables_SI))]

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """The confidence interval, within what the values can be and wide enough to hold the observed mean."""
        seeds = self.seed_component()
        halves = [c.half(confidence) for c in (*([seeds] if seeds else []), *self.item_components())]
        half = sqrt(sum(h * h for h in halves))
        centre = self.constant + sum(float(values.padded_SI.mean()) for values in self.tables.values())
        least = self.constant + sum(values.low for values in self.tables.values())
        greatest = self.constant + sum(values.high for values in self.tables.values())
        low, high = max(centre - half, least), min(centre + half, greatest)
        return Interval(self.mean, min(low, self.mean), max(high, self.mean))


def between_items(tables: list[np.ndarray]) -> Component | None:
    """What the choice of items adds to the variance of a sum of means over the same items, each table [S, I] with seeds
    of its own; None where there is one item."""
    I = tables[0].shape[1]
    if I < 2:
        return None
    item_I = np.sum([x_SI.mean(0) for x_SI in tables], axis=0)
    # with a single seed the interaction can't be told from the items, and stays in
    interaction = sum(interaction_of(x_SI) / x_SI.size for x_SI in tables if len(x_SI) > 1)
    return Component(max(0.0, float(np.var(item_I, ddof=1)) / I - interaction), I - 1)


def interaction_of(x_SI: np.ndarray) -> float:
    """The mean square of what neither seed nor item explains."""
    S, I = x_SI.shape
    rest_SI = x_SI - x_SI.mean(1, keepdims=True) - x_SI.mean(0) + x_SI.mean()
    return float((rest_SI**2).sum()) / ((S - 1) * (I - 1))


def estimate(seeds: Seeds, items: str, x_SI: np.ndarray, ends: tuple[float, float] = (-inf, inf)) -> Estimate:
    """The mean of one table, whose values lie within `ends`; those of right and wrong answers, and of their changes,
    have a width of 1."""
    low, high = ends
    width = 1.0 if isfinite(low) and isfinite(high) else inf
    return Estimate({(seeds, items): Values(np.atleast_2d(np.asarray(x_SI, dtype=float)), low, high, width)})


def average(estimates: list[Estimate]) -> Estimate:
    """The mean of estimates, each of the same weight."""
    total = Estimate()
    for one in estimates:
        total = total.plus(one)
    return total.times(1 / len(estimates))


def seeds_to_tell(found: Estimate, confidence: float = CONFIDENCE, most: int = 1000) -> int | None:
    """With how many seeds in each group the interval would exclude zero, if the mean and the variance between seeds
    stay what they are; None where even `most` would not do, since the items are too few."""
    seeds = found.seed_component()
    if seeds is None:
        return None
    fixed = sum(c.half(confidence) ** 2 for c in found.item_components())
    # a group of a single seed has no part in the component, and would divide by zero
    now = min(n for values in found.tables.values() if (n := len(values.x_SI)) > 1)
    for n in range(2, most + 1):
        freedom = seeds.freedom * (n - 1) / (now - 1)
        between = quantile(confidence, freedom) ** 2 * seeds.variance * now / n
        if sqrt(fixed + between) < abs(found.mean):
            return n
    return None


@dataclass(frozen=True)
class Starts:
    """Seeds in which a skill was learned at all, where that is so in some of them and not in others."""

    by_seed: tuple[float, ...]
    started: int
    needed: int  # seeds that would tell the share of seeds that start to within `WITHIN`

    def as_dict(self) -> dict[str, object]:
        return {"by_seed": list(self.by_seed), "started": self.started, "needed": self.needed}


LEARNED, NOT = 0.5, 0.25  # of the greatest gain: at least so much has started, at most so much has not
NOTICED = 0.1  # a greatest gain below this is no start
WITHIN = 0.2


def starts(gained: Estimate) -> Starts | None:
    """Whether some seeds learned the skill and others didn't. No interval over a few seeds measures that: where one
    seed in three starts, three seeds all fail in 30% of comparisons, and their interval is narrow around zero."""
    if len(gained.groups) != 1 or gained.seeds < 2:
        return None
    gain_S = gained.by_seed(gained.groups[0])
    best = float(gain_S.max())
    if best < NOTICED or float(gain_S.min()) > NOT * best:
        return None
    started = int((gain_S >= LEARNED * best).sum())
    needed = next(n for n in range(2, 1000) if half_of_share(started / len(gain_S), n) <= WITHIN)
    return Starts(tuple(float(g) for g in gain_S), started, needed)


def half_of_share(share: float, n: int) -> float:
    found = wilson(share * n, n)
    return (found.high - found.low) / 2
