"""Intervals and tests for paired right/wrong items, over items and seeds."""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
from typing import NamedTuple
from zlib import crc32

import numpy as np
from scipy.stats import binomtest, fisher_exact, norm

DRAWS = 2000  # bootstrap replicates; the 2.5% quantile of 2000 rests on 50 of them
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


def fisher(hits: int, of: int, control_hits: int, control_of: int) -> float:
    """p-value of Fisher's exact one-sided test that hits/of exceeds control_hits/control_of. Source: Fisher 1935."""
    if of == 0 or control_of == 0:
        return 1.0
    table = [[hits, of - hits], [control_hits, control_of - control_hits]]
    return float(fisher_exact(table, alternative="greater").pvalue)


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


def replicates(
    values_SI: np.ndarray, *, seeds_of: str, items_of: str, ends: tuple[float, float] | None = None
) -> np.ndarray:
    """Means of `values_SI` (seeds × items) with seeds and items resampled, DRAWS of them.

    Seeds and items are crossed (every seed is measured on the same items), so each draw takes whole rows and whole
    columns. S − 1 of S seeds are drawn, which makes the variance between seeds unbiased; a single seed is always
    drawn, so its interval covers the choice of items only.

    Two tables with the same `items_of` get the same draws of items, and those with the same `seeds_of` the same draws
    of seeds, so that the difference of their replicates is a paired comparison.

    `ends` are the least and the greatest value that an item can have. One item of each is added, so that "all 50 of
    50" keeps an interval of some width (the idea of Agresti & Coull; on paired items the interval has the centre of
    `paired_change`).

    Source: Owen 2007, the pigeonhole bootstrap; Rao & Wu 1988 for drawing S − 1.
    """
    values_SI = np.atleast_2d(np.asarray(values_SI, dtype=float))
    if ends is not None:
        # the added items are in the replicates alone; `interval` reports the mean of the real items
        pads_SE = np.tile(np.asarray(ends, dtype=float), (len(values_SI), 1))
        values_SI = np.hstack([values_SI, pads_SE])
    seeds, items = values_SI.shape
    weights_BS = draws(f"seeds of {seeds_of}", seeds, max(1, seeds - 1))
    weights_BI = draws(f"items of {items_of}", items, items)
    return np.einsum("bi,bi->b", weights_BS @ values_SI, weights_BI)


@lru_cache(maxsize=32)
def draws(name: str, n: int, of: int) -> np.ndarray:
    """Bootstrap weights (DRAWS × n), each row summing to 1: the share of `of` draws with replacement that each of n
    got. The random seed is a digest of the name."""
    # crc32, since Python's hash() of text differs from process to process, and so would every reported interval
    generator = np.random.default_rng(crc32(name.encode(errors="surrogatepass")))
    return generator.multinomial(of, np.full(n, 1 / n), size=DRAWS) / of


def interval(mean: float, replicates_B: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """The percentile interval of the replicates, widened where necessary to hold the observed value.

    With `ends`, the replicates centre on a value that is shrunk towards the middle, so that an observed 0% or 100% can
    lie outside of their quantiles.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(replicates_B, [tail, 1 - tail])
    return Interval(float(mean), float(min(low, mean)), float(max(high, mean)))


def bootstrap(values_SI: np.ndarray, ends: tuple[float, float] | None = None) -> Interval:
    """The mean of a table (seeds × items) with a bootstrap interval that resamples both."""
    return interval(float(np.mean(values_SI)), replicates(values_SI, seeds_of="table", items_of="table", ends=ends))
