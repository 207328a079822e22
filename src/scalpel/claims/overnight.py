"""Serves many claims for some hours: always the undecided one that is nearest to a decision, one look at a time.

The nearest is the one that needs the fewest further seeds, if the mean and the spread of its differences stay as they
are. A claim that hasn't been run needs those of its first look; one that no planned look would decide comes last.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from scalpel.claims.claim import Claim, every
from scalpel.claims.judge import differences, enough, units
from scalpel.claims.result import result_of
from scalpel.claims.run import Limit
from scalpel.claims.statement import Sampling
from scalpel.evaluation.crossed import quantile
from scalpel.evaluation.sequential import named, spread
from scalpel.evaluation.statistics import Interval

log = logging.getLogger("scalpel")
Run = Callable[[Claim, Limit], dict[str, Any]]


def seeds_to_decide(claim: Claim) -> float | None:
    """The expected number of seeds until a decision; None if there is nothing left to decide."""
    sampling, found = claim.statement.sampling, result_of(claim)
    if claim.statement.out_of_regime:
        return None
    if found is None:
        return float(sampling.looks[0])
    if found["verdict"] != "inconclusive":
        return None
    seeds = len(found["seconds"])
    if seeds >= sampling.looks[-1]:
        return None
    return next((float(n - seeds) for n in looks_that_decide(found["rows"][0], seeds, sampling)), inf)


def looks_that_decide(row: Any, seeds: int, sampling: Sampling) -> list[int]:
    """The looks ahead at which the comparison would be decided, if mean and spread stay as they are."""
    if seeds < sampling.looks[0] or not enough(row, units(sampling, seeds)):
        return [sampling.looks[0]] if seeds < sampling.looks[0] else []
    d_S = differences(row, units(sampling, seeds))
    ahead = [(n, alpha) for n, alpha in zip(sampling.looks, sampling.alpha, strict=True) if n > seeds]
    return [n for n, alpha in ahead if named(expected(d_S, n // sampling.block, alpha), row["matters"]) != "open"]


def expected(d_S: Sequence[float], n: int, level: float) -> Interval:
    """The interval of n numbers of the same mean and spread."""
    half = quantile(1 - level, n - 1) * spread(np.asarray(d_S)) / sqrt(n)
    mean = sum(d_S) / len(d_S)
    return Interval(mean, mean - half, mean + half)


def nearest(claims: Sequence[Claim]) -> Claim | None:
    """The claim that is nearest to a decision; None if there is nothing left to decide."""
    ahead = [(n, claim.id, claim) for claim in claims if (n := seeds_to_decide(claim)) is not None]
    return min(ahead)[2] if ahead else None


def overnight(claims: Path, hours: float, run: Run) -> list[str]:
    """Runs claims until the hours are over or all are decided, and returns those that were run, in order. A claim that
    fails is left out from then on, and the others go on."""
    limit, failed, served = Limit(decided=True, hours=hours, looks=1), set[str](), list[str]()
    while not limit.over():
        claim = nearest([claim for claim in every(claims) if claim.id not in failed])
        if claim is None:
            break
        served.append(claim.id)
        try:
            run(claim, limit)
        except (ValueError, RuntimeError) as error:
            failed.add(claim.id)
            log.warning("%s is left out: %s", claim.id, error)
    return served
