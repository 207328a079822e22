"""Looks at a comparison to which seeds are added until it is decided: after how many seeds, at which level, in words.

Each look makes the verdict at its own level, and the levels add up to 5% (`sequential.spending`), so that an arm that
isn't worth it is taken in at most 5% of comparisons, at whichever look the choice is decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from scalpel.evaluation.number_words import listed, percent
from scalpel.evaluation.sequential import LEVEL, spending, spent

FEWEST = 2  # seeds at a look


@dataclass(frozen=True)
class Plan:
    """The seeds at each look."""

    seeds: tuple[tuple[int, ...], ...]

    @property
    def counts(self) -> list[int]:
        return [len(seeds) for seeds in self.seeds]

    def level(self, look: int) -> float:
        return spent(spending(len(self.seeds)), look)


def planned(seeds: Sequence[int], looks: Sequence[int], most: int, taken: int) -> Plan:
    """After `looks` seeds, as far as they are below `most`, and after `most`; where none are given after as many as
    there are, twice as many, and so on. Further seeds than the given ones are those that follow the greatest of them,
    without the one that is `taken` by the tuning. Raises ValueError where the first look is beyond the most, or has a
    single seed, whose interval would leave out that seeds differ."""
    counts = list(looks) or list(doubled(max(FEWEST, len(seeds)), most))
    if counts[0] < FEWEST:
        raise ValueError(
            f"a look after {counts[0]} seed can't decide, since one seed says nothing of others: begin at 2"
        )
    if counts[0] > most:
        raise ValueError(
            f"the first look is after {counts[0]} seeds, but at most {most} may be run: raise compare.most (--most), "
            "or look earlier (compare.looks)"
        )
    counts = [n for n in counts if n < most] + [most]
    further = (seed for seed in count(max(seeds) + 1) if seed != taken)
    every = [*seeds, *(next(further) for _ in range(max(0, most - len(seeds))))]
    return Plan(tuple(tuple(every[:n]) for n in counts))


def doubled(first: int, most: int) -> Iterator[int]:
    yield first
    while (first := 2 * first) <= most:
        yield first


def record(plan: Plan, look: int, verdict: dict[str, Any]) -> dict[str, Any]:
    """What a look found, for comparison.json."""
    return {
        "look": look + 1,
        "seeds": plan.counts[look],
        "level": plan.level(look),
        "decided": verdict["decided"],
        "take": verdict["take"],
        "open": verdict["open"],
        "stuck": verdict["stuck"],
    }


def ended(one: dict[str, Any]) -> bool:
    """Whether further seeds are needed no more, or of no use: nothing was measured, or the items are too few."""
    return one["decided"] or not one["open"] or bool(one["stuck"])


def in_words(plan: Plan, records: Sequence[dict[str, Any]], plans: int = 1) -> list[str]:
    """At which look the choice was decided, or what stayed open; `plans` counts those by which a verdict was made in
    this folder, this one included."""
    last, before = records[-1], records[:-1]
    where = f"look {last['look']} of {len(plan.seeds)}, with {seeds_in_words(last['seeds'])} an arm"
    if last["decided"]:
        text = f"Decided at {where}"
    elif last["look"] == len(plan.seeds):
        text = f"Not decided at {where}, the most that were to be run: {waiting(last)}"
    else:
        text = f"Stopped undecided at {where}, since more seeds wouldn't tell: {waiting(last)}"
    words = [f"{text}."]
    words += [f"At {seeds_in_words(one['seeds'])} an arm it was open: {waiting(one)}." for one in before]
    if plans > 1:
        words.append(
            f"Verdicts were made here by {plans} plans of looks. Each may take a worthless arm in {percent(LEVEL)} of "
            f"comparisons, so together they may in {percent(plans * LEVEL)}."
        )
    return words


def seeds_in_words(n: int) -> str:
    return f"{n} seed{'s' if n > 1 else ''}"


def waiting(one: dict[str, Any]) -> str:
    """What a look left open."""
    names = listed(one["open"])
    if not names:
        return "gain or forgetting was not measured"
    few = f", and for {listed(one['stuck'])} the items are too few" if one["stuck"] else ""
    if one["take"]:
        return f"{names} can be neither told apart from {one['take']} nor shown to be as good within 5 points{few}"
    return f"{names} may still net 5 points or more, or nothing{few}"
