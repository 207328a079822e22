"""Decides a comparison of paired seeds at planned looks: more seeds are added until the outcome is known.

    d_s = the difference between two arms in seed s,  n seeds, mean m, standard deviation s, δ the smallest effect that
    matters, a the level that is spent at this look, t Student's quantile with n − 1 degrees of freedom

    (l, u) = m ± t(1 − a/2) s / √n

    agrees       l > 0 and u ≥ δ          contradicts  u < 0 and l ≤ −δ
    absent       −δ < l and u < δ         open         else

Each of the first three is false only where (l, u) misses the true difference, which happens at that look with
probability a. The levels of all looks add up to the level of the whole, so a wrong decision at any look is at most as
likely as that, however the looks depend on each other (Bonferroni). Boundaries that use the correlation between looks
would spend less, but hold exactly for normal means of known variance only, and the first look has four seeds.

A comparison is decided at the level p = 2 (1 − F(max(|m|, δ − |m|) √n / s)), F of Student's t: either zero lies outside
the interval, or the whole interval lies within δ. `holm` orders several comparisons by it.

Trap: quantities of few possible values (a share of a handful of items) may agree exactly in all seeds by chance. Their
variance is then zero and so is the interval's width.

Sources: Lan & DeMets 1983, Biometrika 70, 659 (spending the level over looks); Schuirmann 1987 (equivalence from a
confidence interval); Holm 1979, Scand. J. Statist. 6, 65. Holm's procedure with decisions that have a direction holds
its level for independent comparisons (Shaffer 1980, Ann. Statist. 8, 1342); for dependent ones that isn't proven.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, isfinite, sqrt
from typing import Any, Literal

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct
from scipy.stats import t as student

from scalpel.evaluation.crossed import quantile
from scalpel.evaluation.statistics import Interval

Outcome = Literal["agrees", "contradicts", "absent", "open"]
LOOKS = (4, 8, 16, 32)  # seeds at each look
ALPHAS = (0.005, 0.01, 0.015, 0.02)
LEVEL = 0.05  # of all looks together
POWER = 0.8
MOST = 10_000  # seeds, beyond which none are counted


@dataclass(frozen=True)
class Decision:
    """The outcome of one comparison at one look, and what its seeds can tell at all."""

    outcome: Outcome
    interval: Interval
    level: float  # the probability with which the interval misses the true difference
    seeds: int
    delta: float
    spread: float  # the standard deviation between seeds; infinite for a single seed

    @property
    def smallest_seen(self) -> float:
        """The smallest true effect that so many seeds of this spread tell from zero with a power of 80%."""
        return smallest_seen(self.spread, self.seeds, self.level)

    @property
    def seeds_needed(self) -> int | None:
        """How many seeds of this spread would tell a true effect of δ from zero with a power of 80%; None where
        that isn't known, or where `MOST` would not do."""
        return seeds_needed(self.spread, self.delta, self.level)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: None stands for it."""
        return {
            "outcome": self.outcome,
            "difference": {key: finite(value) for key, value in self.interval._asdict().items()},
            "level": self.level,
            "seeds": self.seeds,
            "matters": self.delta,
            "spread": finite(self.spread),
            "smallest_seen": finite(self.smallest_seen),
            "seeds_needed": self.seeds_needed,
        }


def finite(value: float) -> float | None:
    return value if isfinite(value) else None


def spending(looks: int, level: float = LEVEL) -> tuple[float, ...]:
    """The level over so many looks, in proportion to 1, 2, 3, …: a later look has more seeds and gets more of it. Of
    four looks at 5% these are `ALPHAS`."""
    if looks < 1:
        raise ValueError(f"{looks} looks: there must be at least one at which the comparison can be decided")
    return tuple(level * k / (looks * (looks + 1) / 2) for k in range(1, looks + 1))


def spent(alphas: Sequence[float], look: int) -> float:
    """The level that is spent at this look, counted from 0. Raises ValueError where the levels can't be those of a
    whole, or where there is no such look."""
    if not alphas or min(alphas) <= 0 or sum(alphas) >= 1:
        raise ValueError(f"the levels {list(alphas)} must each be above 0 and add up to less than 1, such as to 0.05")
    if not 0 <= look < len(alphas):
        raise ValueError(f"look {look} is none of the {len(alphas)} looks that were planned, counted from 0")
    return float(alphas[look])


def t_interval(differences: Sequence[float], level: float) -> Interval:
    """The exact interval of the mean of one number a seed, under normal differences. A single seed has no variance
    between seeds, and its interval has no bounds."""
    d_S = checked(differences)
    mean = float(d_S.mean())
    if len(d_S) < 2:
        return Interval(mean, -inf, inf)
    half = quantile(1 - level, len(d_S) - 1) * spread(d_S) / sqrt(len(d_S))
    return Interval(mean, mean - half, mean + half)


def checked(differences: Sequence[float]) -> np.ndarray:
    d_S = np.asarray(differences, dtype=float)
    if d_S.ndim != 1 or not len(d_S):
        raise ValueError(f"differences of shape {d_S.shape}: give one number for each seed, and at least one")
    if not np.isfinite(d_S).all():
        raise ValueError(
            f"the differences {d_S.tolist()} are not all finite: a seed without a result can't be paired, and leaving "
            "it out would favour the arm that failed"
        )
    return d_S


def spread(d_S: np.ndarray) -> float:
    """The standard deviation between seeds. Seeds that agree up to rounding have none."""
    if len(d_S) < 2:
        return inf
    found = float(d_S.std(ddof=1))
    return 0.0 if found <= 1e-12 * float(np.abs(d_S).max()) else found


def outcome(differences: Sequence[float], delta: float, level: float = LEVEL) -> Decision:
    """What the paired differences say at this level; `delta` is the smallest effect that matters. A tie of 0 and 0 in
    every seed has no variance, and is `absent`."""
    if not (isfinite(delta) and delta > 0):
        raise ValueError(f"delta = {delta}: the smallest effect that matters is a number above 0")
    if not 0 < level < 1:
        raise ValueError(f"level = {level}: it is the probability of a false decision, such as 0.05")
    found = t_interval(differences, level)
    return Decision(named(found, delta), found, level, len(differences), delta, spread(checked(differences)))


def named(difference: Interval, delta: float) -> Outcome:
    """The outcome that an interval stands for."""
    if -delta < difference.low and difference.high < delta:
        return "absent"
    if difference.low > 0:
        return "agrees"
    return "contradicts" if difference.high < 0 else "open"


def decided_at(differences: Sequence[float], delta: float) -> float:
    """The smallest level at which the outcome is not open: the p-value of the decision, whichever it is."""
    d_S = checked(differences)
    if len(d_S) < 2:
        return 1.0
    mean, error = abs(float(d_S.mean())), spread(d_S) / sqrt(len(d_S))
    if error == 0:
        return 0.0
    return float(2 * student.sf(max(mean, delta - mean) / error, len(d_S) - 1))


def holm(parts: Sequence[tuple[Sequence[float], float]], level: float = LEVEL) -> list[Decision]:
    """The decisions on several comparisons, each given as (differences, δ), such that the probability of any false one
    is at most `level`. That which is decided at the smallest level is judged at level/k, the next at level/(k − 1),
    and so on; from the first on that is open at its level all are open."""
    order = sorted(range(len(parts)), key=lambda k: decided_at(*parts[k]))
    found: dict[int, Decision] = {}
    stepped = level / max(1, len(parts))
    for rank, k in enumerate(order):
        if all(one.outcome != "open" for one in found.values()):
            stepped = level / (len(parts) - rank)
        found[k] = outcome(*parts[k], stepped)
    return [found[k] for k in range(len(parts))]


@cache
def noncentrality(seeds: int, level: float, power: float = POWER) -> float:
    """The true mean, in standard errors, at which l > 0 has that power. The other direction of a two-sided test is
    left out: at this power its share is below 1e-4."""
    critical = quantile(1 - level, seeds - 1)
    above = 2 * critical + 10
    while float(nct.sf(critical, seeds - 1, above)) < power:
        above *= 2
    return float(brentq(lambda shift: nct.sf(critical, seeds - 1, shift) - power, 0.0, above))


def smallest_seen(spread: float, seeds: int, level: float) -> float:
    """The smallest true effect that is told from zero at this level with a power of 80%."""
    if seeds < 2 or not isfinite(spread):
        return inf
    return noncentrality(seeds, level) * spread / sqrt(seeds) if spread else 0.0


def seeds_needed(spread: float, delta: float, level: float) -> int | None:
    """The fewest seeds with which a true effect of δ is told from zero at this level with a power of 80%."""
    if not isfinite(spread) or smallest_seen(spread, MOST, level) > delta:
        return None
    low, high = 1, MOST  # `high` would do, `low` would not: a single seed tells nothing
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if smallest_seen(spread, middle, level) <= delta else (middle, high)
    return high
