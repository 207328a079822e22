"""The verdict on a claim: pure arithmetic over the numbers of each seed.

    d_s = that − other − by in seed s,   outcome from its t-interval at the level of the look (evaluation/sequential.py)

    exceeds    agrees, contradicts, absent or open, as that file has it
    equals     agrees where that says absent, contradicts where it says agrees or contradicts, else open

The verdict is the outcome of the primary comparison at the first look that decides it: **replicates** (agrees),
**contradicts**, **absent**, or **inconclusive** (open at the last look so far); or **not in its regime**, where a
regime check fails. Parts are judged at the same look, by Holm's procedure, and decide nothing.

A number that a seed doesn't have, such as the value at an accuracy that it never reached, leaves that seed out of the
comparison; where more than a fifth of the seeds lack theirs, the comparison is open, since the others would be a
selection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from scalpel.claims.by_seed import Row
from scalpel.claims.statement import Sampling
from scalpel.evaluation.sequential import Decision, Outcome, holm, outcome, spent

Verdict = Literal["replicates", "contradicts", "absent", "inconclusive", "not in its regime"]
VERDICTS: Mapping[str, Verdict] = {
    "agrees": "replicates", "contradicts": "contradicts", "absent": "absent", "open": "inconclusive"
}  # fmt: skip
COMPLETE = 0.8  # share of seeds that must have both numbers
EQUAL: Mapping[str, Outcome] = {"absent": "agrees", "agrees": "contradicts", "contradicts": "contradicts"}


def differences(row: Row, seeds: Sequence[int]) -> list[float]:
    """that − other − by, of the seeds that have both."""
    pairs = [row["numbers"].get(str(seed), [None, None]) for seed in seeds]
    return [a - b - row["by"] for a, b in pairs if a is not None and b is not None]


def units(sampling: Sampling, seeds: int) -> range:
    """The seeds under which so many seeds have their numbers: all of them, or the last of each block."""
    return range(sampling.block, seeds + 1, sampling.block)


def complete(row: Row, seeds: Sequence[int]) -> bool:
    return all(str(seed) in row["numbers"] for seed in seeds)


def enough(row: Row, seeds: Sequence[int]) -> bool:
    return len(differences(row, seeds)) >= max(2, COMPLETE * len(seeds))


def judged(rows: Sequence[Row], sampling: Sampling, pilot_holds: bool = True) -> dict[str, Any]:
    """The verdict, the look at which it was reached, and each row with its outcome, ready for JSON. `rows` are in the
    order of Statement.contrasts, and so are those of the result."""
    primary = rows[0]
    if not pilot_holds:
        return {"verdict": "not in its regime", "seeds": 0, "level": None, "rows": list(rows)}
    taken = [(k, n) for k, n in enumerate(sampling.looks) if complete(primary, units(sampling, n))]
    if not taken:
        return {"verdict": "inconclusive", "seeds": 0, "level": None, "rows": list(rows)}
    for k, n in taken:
        seeds, level = units(sampling, n), spent(sampling.alpha, k)
        found = decided(primary, seeds, level)
        if found["outcome"] != "open":
            break
    out = [found, *parts(rows, seeds, level), *checks(rows, seeds)]
    holds = all(row["holds"] for row in out if row["table"] == "regime_checks")
    verdict = VERDICTS[found["outcome"]] if holds else "not in its regime"
    return {"verdict": verdict, "seeds": n, "level": level, "rows": out}


def checks(rows: Sequence[Row], seeds: Sequence[int]) -> list[Row]:
    return [checked(row, seeds) for row in rows if row["table"] == "regime_checks"]


def checked(row: Row, seeds: Sequence[int]) -> Row:
    """A regime check with whether it holds: by the mean over seeds."""
    found = differences(row, seeds)
    if not found:
        return row | {"holds": False, "mean": None}
    mean = sum(found) / len(found)
    holds = abs(mean) <= row["within"] if row["asks"] == "equals" else mean > 0
    return row | {"holds": holds, "mean": mean}


def decided(row: Row, seeds: Sequence[int], level: float) -> Row:
    """A comparison with its outcome at that level."""
    if not enough(row, seeds):
        return missing(row, seeds)
    return judged_row(row, outcome(differences(row, seeds), row["matters"], level))


def parts(rows: Sequence[Row], seeds: Sequence[int], level: float) -> list[Row]:
    """The parts with their outcomes. What is missing counts among them: it was asked for, too."""
    own = [row for row in rows if row["table"] == "parts"]
    there = [row for row in own if enough(row, seeds)]
    shared = level * len(there) / max(1, len(own))
    found = holm([(differences(row, seeds), row["matters"]) for row in there], shared) if there else []
    decisions = iter(found)
    return [judged_row(row, next(decisions)) if enough(row, seeds) else missing(row, seeds) for row in own]


def judged_row(row: Row, found: Decision) -> Row:
    said = found.as_dict()
    if row["asks"] == "equals":
        said["outcome"] = EQUAL.get(found.outcome, "open")
    return row | said


def missing(row: Row, seeds: Sequence[int]) -> Row:
    n = len(differences(row, seeds))
    return row | {"outcome": "open", "why": f"only {n} of {len(seeds)} seeds have both numbers"}


def agreeing(found: Mapping[str, Any]) -> str:
    """`3 of 4 agree`, of the parts of a result."""
    outcomes = [row.get("outcome", "open") for row in found["rows"] if row["table"] == "parts"]
    return f"{outcomes.count('agrees')} of {len(outcomes)} agree" if outcomes else "–"
