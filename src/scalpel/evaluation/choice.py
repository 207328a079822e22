"""Which of several arms to take, from estimates of their nets alone; and whether more seeds could change that.

At level a, of k arms, with intervals at confidence 1 − a/k for each net and 1 − a/(k − 1) for each difference from the
best (Bonferroni), so that all of either kind hold together with probability 1 − a or more:

    worth taking  the interval of an arm's net lies above zero; of these, the one of the greatest net is taken
    apart         the interval of the difference between the best net and another's excludes zero
    alike         that interval lies within 5 points

The choice is **decided** if an arm is taken and each other one is worse or alike, or if no arm can net 5 points: the
interval of every net ends below that. The margin is needed, since no number of seeds shows that a net of zero is not
above zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scalpel.evaluation.crossed import Estimate
from scalpel.evaluation.lacking import items_half
from scalpel.evaluation.ledger import ALIKE, within
from scalpel.evaluation.sequential import LEVEL
from scalpel.evaluation.statistics import Interval


@dataclass(frozen=True)
class Duel:
    """The best arm beside another."""

    arm: str
    than: str
    apart: Estimate  # the difference of their nets
    difference: Interval
    confidence: float

    @property
    def settled(self) -> bool:
        """Whether the other is worse, or as good within the margin."""
        return self.difference.low > 0 or within(self.difference, ALIKE)


@dataclass(frozen=True)
class Choice:
    """The best arm, whether it is shown to be worth taking, and what a decision still waits for."""

    best: str | None
    worth: bool
    duels: tuple[Duel, ...]
    open: tuple[str, ...]  # the arms on which nothing is decided yet
    stuck: tuple[
        str, ...
    ] = ()  # those that no seeds would decide, since the items are too few, and the choice with them

    @property
    def take(self) -> str | None:
        return self.best if self.worth else None


def together(comparisons: int, level: float = LEVEL) -> float:
    """The confidence of each interval at which all of them together hold with 1 − level (Bonferroni)."""
    return 1 - level / max(1, comparisons)


def choose(nets: Mapping[str, Estimate], level: float = LEVEL) -> Choice:
    """The choice among arms by their nets, at this level."""
    confidence = together(len(nets), level)
    found = {name: net.interval(confidence) for name, net in nets.items()}
    # Every arm is judged at a confidence that holds for all of them: of several worthless ones the luckiest would
    # otherwise be taken. Of those that are shown to be worth taking the one of the greatest net is.
    worth = [name for name in nets if found[name].low > 0]
    best = max(worth or nets, key=lambda name: nets[name].mean, default=None)
    if best is None:
        return Choice(None, False, (), ())
    duels = tuple(duel(nets, best, name, level) for name in nets if name != best)
    if worth:
        waiting = {one.arm: one.apart for one in duels if not one.settled}
    else:
        waiting = {name: net for name, net in nets.items() if found[name].high >= ALIKE}
    stuck = tuple(name for name, apart in waiting.items() if beyond_seeds(apart, bool(worth), len(nets)))
    # where none is shown to be worth taking yet, one that more seeds would tell of may still be
    given_up = stuck if worth or len(stuck) == len(waiting) else ()
    return Choice(best, bool(worth), duels, tuple(waiting), given_up)


def beyond_seeds(found: Estimate, beside: bool, arms: int) -> bool:
    """Whether the items alone leave the question open, whatever the mean over further seeds will be within its present
    interval. `beside`: of a difference between two nets; else of a net. At the level of all looks together, which is
    greater than that of any look, so that no comparison is given up which a later look could decide."""
    confidence = together(arms - 1 if beside else arms)
    seeds = found.seed_component()
    if seeds is None:
        return False
    half = items_half(found, confidence)
    low, high = found.mean - seeds.half(confidence), found.mean + seeds.half(confidence)
    if high - half > 0:
        return False
    return max(low, -high, 0.0) + half > ALIKE if beside else low + half >= ALIKE


def duel(nets: Mapping[str, Estimate], best: str, other: str, level: float) -> Duel:
    """Paired item by item, at the confidence of all comparisons with the best together."""
    confidence = together(len(nets) - 1, level)
    apart = nets[best].minus(nets[other])
    return Duel(other, best, apart, apart.interval(confidence), confidence)
