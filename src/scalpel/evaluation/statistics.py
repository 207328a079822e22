"""Intervals and exact tests for paired right/wrong items of one run; `crossed.py` has those over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, norm

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """An estimate with its confidence interval, at 95% unless said otherwise."""

    mean: float
    low: float
    high: float

    @property
    def apart_from_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided McNemar test: p = P(split at least this uneven), gained ~ Binomial(gained + lost, ½).

    Only items that flipped count: items that are right, or wrong, both times carry no information about the
    direction. Source: McNemar 1947, in the exact binomial form.
    """
    flips = gained + lost
    return 1.0 if flips == 0 else float(binomtest(gained, flips, 0.5).pvalue)


Strata = Sequence[tuple[Sequence[float], Sequence[float]]]  # of each stratum the values and those of the control


def excess(strata: Strata, draws: int = 9999) -> float:
    """p-value of a one-sided permutation test that values exceed those of the control: Σ_h w_h (v̄_h − c̄_h) over
    strata h, against what it is where the two are exchanged at random within each. w_h = n m / (n + m), from their
    numbers n and m. It is 1 where no stratum has both.

    Source: Fisher 1935; the weights of Cochran 1954 (Biometrics 10, 417); Phipson & Smyth 2010 for counting the
    observed arrangement among the drawn ones.
    """
    found = [(np.asarray(v, dtype=float), np.asarray(c, dtype=float)) for v, c in strata if len(v) and len(c)]
    if not found:
        return 1.0
    generator = np.random.default_rng(0)  # a fixed seed: a report says the same each time it is made
    drawn_D = np.zeros(draws + 1)  # the observed arrangement is the first
    for values, control in found:
        n, m = len(values), len(control)
        all_I = np.concatenate([values, control])
        all_DI = np.vstack([all_I, generator.permuted(np.tile(all_I, (draws, 1)), axis=1)])
        drawn_D += (all_DI[:, :n].mean(1) - all_DI[:, n:].mean(1)) * n * m / (n + m)
    return float((drawn_D >= drawn_D[0] - 1e-9).mean())


def wilson(successes: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval for a share of n. It has a width even at 0 and at n, where the normal interval has none.

    (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n).   Source: Wilson 1927.
    """
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0)
    z = float(norm.ppf(0.5 + confidence / 2))
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(p, max(0.0, centre - half), min(1.0, centre + half))


def paired_change(gained: int, lost: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """The change in the share of right answers on one set of n items before and after, with its interval.

    With g = (gained + 1)/(n + 2) and l = (lost + 1)/(n + 2):  g − l ± z √((g + l − (g − l)²)/(n + 2)).
    Source: Bonett & Price 2012, adjusted Wald interval for paired proportions.
    """
    if n == 0:
        return Interval(float("nan"), -1.0, 1.0)
    z = float(norm.ppf(0.5 + confidence / 2))
    g, l = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = z * sqrt((g + l - (g - l) ** 2) / (n + 2))
    return Interval((gained - lost) / n, max(-1.0, g - l - half), min(1.0, g - l + half))
