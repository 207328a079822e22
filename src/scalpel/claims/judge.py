"""The verdict on a claim: pure arithmetic over the arms of a comparison.

    d = that − other, with its interval over seeds and items (evaluation/crossed.py)

    exceeds by m    holds where the whole interval lies above m, fails where it lies at or below m, open otherwise
    equals within w holds where the whole interval lies in [−w, w], fails where it lies outside, open otherwise
    missing         a run never got to the number

The claim **replicates** if all its tests hold: each at its confidence, which needs no correction, since all must
(intersection–union; Berger 1982). It **doesn't** if one fails. It is **not testable here** if what must be given is
not, or if no test fails and one is open. One seed says nothing of other seeds, so with fewer than two a test is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from scalpel.claims.claim import PARTS, Check, Claim, Number
from scalpel.claims.quantities import UNITS, Missing
from scalpel.evaluation.crossed import Estimate
from scalpel.evaluation.number_words import listed
from scalpel.evaluation.results import ArmResults
from scalpel.evaluation.statistics import Interval
from scalpel.registry import lookup

Outcome = Literal["holds", "fails", "open", "missing"]
Verdict = Literal["replicates", "doesn't", "not testable here"]
FEWEST = 2  # seeds


def exceeding(difference: Interval, by: float) -> Outcome:
    return "holds" if difference.low > by else "fails" if difference.high <= by else "open"


def equalling(difference: Interval, within: float) -> Outcome:
    if -within <= difference.low and difference.high <= within:
        return "holds"
    return "fails" if difference.low > within or difference.high < -within else "open"


def verdict(outcomes: Mapping[str, Sequence[Outcome]]) -> Verdict:
    """Of a claim, from the outcomes of what must be `given` and of its `tests`."""
    given, tests = outcomes["given"], outcomes["tests"]
    if any(outcome != "holds" for outcome in given):
        return "not testable here"
    if "fails" in tests:
        return "doesn't"
    return "replicates" if all(outcome == "holds" for outcome in tests) else "not testable here"


def judged(claim: Claim, arms: Mapping[str, ArmResults], failed: Mapping[str, str]) -> dict[str, Any]:
    """The verdict with each comparison and its numbers, ready for JSON. `failed`: arms without a result, and why."""
    rows = [row(part, check, arms, failed, claim.statement.confidence) for part, check in claim.checks()]
    outcomes = {part: [r["outcome"] for r in rows if r["part"] == part] for part in PARTS}
    return {"verdict": verdict(outcomes), "words": in_words(rows), "checks": rows}


def row(
    part: str, check: Check, arms: Mapping[str, ArmResults], failed: Mapping[str, str], confidence: float
) -> dict[str, Any]:
    """One comparison: both numbers, their difference and what comes of it."""
    left, right = check.numbers
    found: dict[str, Any] = {"part": part, "says": check.says, "unit": UNITS[left.what]}
    found |= {"that": named(left), "other": right if isinstance(right, float) else named(right)}
    found |= {"within": check.within} if check.within else {"by": check.by}
    try:
        a, b = taken(left, arms, failed), taken(right, arms, failed)
    except Missing as gap:
        return found | {"outcome": "missing", "why": str(gap)}
    apart = a.minus(b)
    difference = apart.interval(confidence)
    outcome = equalling(difference, check.within) if check.within else exceeding(difference, check.by)
    found |= {"values": [a.mean, b.mean], "difference": difference._asdict(), "seeds": apart.seeds}
    return found | {"outcome": outcome if apart.seeds >= FEWEST else "open"}


def taken(side: Number | float, arms: Mapping[str, ArmResults], failed: Mapping[str, str]) -> Estimate:
    """The number that a side stands for; a constant has no spread and speaks for all seeds."""
    if isinstance(side, float):
        return Estimate(constant=side)
    for name in side.arms:
        if name not in arms:
            raise Missing(f"{name} gave no result: {failed.get(name, 'it was left out of the comparison')}")
    measure = lookup("quantity", side.what)
    name = side.arm or max(side.best, key=lambda name: measure(among(arms[name], side.chosen_on), **side.keys).mean)
    found = measure(among(arms[name], side.seeds), **side.keys)
    return found.minus(taken(side.less, arms, failed)) if side.less else found


def among(arm: ArmResults, seeds: Sequence[int]) -> ArmResults:
    """The arm in these seeds alone; in all of them where none is named."""
    return ArmResults(arm.name, tuple(run for run in arm.runs if not seeds or run.seed in seeds))


def named(side: Number) -> str:
    """`gain of sft`, `forgetting-at (accuracy 0.6) of the best of a and b on seed 0, seeds 1 and 2`."""
    keys = ", ".join(f"{key} {value}" for key, value in side.keys.items())
    who = side.arm or f"the best of {listed(list(side.best))} on {numbered(side.chosen_on)}"
    found = f"{side.what}{f' ({keys})' if keys else ''} of {who}{f', {numbered(side.seeds)}' if side.seeds else ''}"
    return f"({found}, less {named(side.less)})" if side.less else found


def numbered(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {listed([str(seed) for seed in seeds])}"


def in_words(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why the verdict is what it is: one sentence for each comparison that stands in the way."""
    deciding = [r for r in rows if r["part"] != "besides" and r["outcome"] != "holds"]
    return [f"“{r['says']}”: {why(r)}." for r in deciding]


def why(r: Mapping[str, Any]) -> str:
    if r["outcome"] == "missing":
        return str(r["why"])
    if r["outcome"] == "fails":
        return "the numbers say otherwise"
    return "one seed can't tell" if r["seeds"] < FEWEST else "too few seeds or items to tell"
