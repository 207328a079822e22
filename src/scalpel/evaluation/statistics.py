"""Intervals and tests for paired right/wrong items, over items and seeds."""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
from typing import NamedTuple
from zlib import crc32

import numpy as np
from scipy.stats import binomtest, fisher_exact, norm

DRAWS = 2000
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A value with the interval that holds the true one 95 times in 100, unless said otherwise."""

    mean: float
    low: float
    high: float

    @property
    def apart_from_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided McNemar test: p = P(split at least this uneven), flips ~ Binomial(g + l, ½).

    Only items that flipped count; items right both times, or wrong both times, say nothing about
    the direction. Source: McNemar 1947, in the exact binomial form.
    """
    flips = gained + lost
    return 1.0 if flips == 0 else float(binomtest(gained, flips, 0.5).pvalue)


def fisher(hits: int, of: int, control_hits: int, control_of: int) -> float:
    """Exact one-sided test that hits/of exceeds control_hits/control_of (Fisher 1935)."""
    if of == 0 or control_of == 0:
        return 1.0
    table = [[hits, of - hits], [control_hits, control_of - control_hits]]
    return float(fisher_exact(table, alternative="greater").pvalue)


def wilson(successes: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval for a share: sensible at 0 and at n, where the normal one has no width.

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
    """The change in the share that is right, of one set of n items before and after.

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

    Seeds and items are crossed (every seed meets the same items), so each draw takes whole rows and
    whole columns. Of S seeds S − 1 are drawn, which makes the variance between seeds unbiased; a
    single seed is always drawn, so its interval covers items only.

    Two tables with one `items_of` get the same draws of items, and those with one `seeds_of` the
    same draws of seeds: subtracting their replicates is a paired comparison.

    `ends` are the least and the greatest value that an item can have. One item of each is added, so
    that "all 50 of 50" keeps an interval of some width (Agresti & Coull's idea; on paired items it
    has the centre of `paired_change`).

    Source: Owen 2007, the pigeonhole bootstrap; Rao & Wu 1988 for drawing S − 1.
    """
    values_SI = np.atleast_2d(np.asarray(values_SI, dtype=float))
    if ends is not None:
        pads_SE = np.tile(np.asarray(ends, dtype=float), (len(values_SI), 1))
        values_SI = np.hstack([values_SI, pads_SE])
    seeds, items = values_SI.shape
    weights_BS = draws(f"seeds of {seeds_of}", seeds, max(1, seeds - 1))
    weights_BI = draws(f"items of {items_of}", items, items)
    return np.einsum("bi,bi->b", weights_BS @ values_SI, weights_BI)


@lru_cache(maxsize=32)
def draws(name: str, n: int, of: int) -> np.ndarray:
    """DRAWS rows of weights that sum to 1: how often each of n was drawn, `of` times, by the name's seed."""
    generator = np.random.default_rng(crc32(name.encode(errors="surrogatepass")))
    return generator.multinomial(of, np.full(n, 1 / n), size=DRAWS) / of


def interval(mean: float, replicates_B: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """The percentile interval of the replicates around the value that was seen."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(replicates_B, [tail, 1 - tail])
    return Interval(float(mean), float(min(low, mean)), float(max(high, mean)))


def bootstrap(values_SI: np.ndarray, ends: tuple[float, float] | None = None) -> Interval:
    """The mean of a table (seeds × items) with an interval that resamples both."""
    return interval(float(np.mean(values_SI)), replicates(values_SI, seeds_of="table", items_of="table", ends=ends))
