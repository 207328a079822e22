"""The numbers of a claim's comparisons, seed by seed, from its runs.

    rows = [{"table": "primary", "that": "gain of sft", …, "numbers": {"1": [0.31, 0.22], "2": [0.28, null]}}]

A number is that of one seed alone, since each seed may have items of its own. None stands for a number that the run
doesn't have, such as the value at an accuracy that it never reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from scalpel.claims.claim import Claim
from scalpel.claims.number import Number, named
from scalpel.claims.quantities import UNITS, Missing
from scalpel.claims.statement import Comparison, Contrast, RegimeCheck
from scalpel.evaluation.results import ArmResults, load_run
from scalpel.registry import lookup

Runs = Mapping[str, ArmResults]  # the arms in one seed, by name
Row = dict[str, Any]


Chosen = Mapping[str, str] | None  # the arm in the place of each `best`; None before the pilot has chosen


def rows_of(claim: Claim, chosen: Chosen, tables: Sequence[str] = ()) -> list[Row]:
    """A row for each comparison, without numbers yet."""
    found = claim.statement.contrasts()
    return [row_of(table, one, chosen) for table, one in found if not tables or table in tables]


def row_of(table: str, one: Contrast, chosen: Chosen) -> Row:
    left, right = sides(one, chosen)
    row: Row = {"table": table, "says": one.says, "that": named(left), "unit": UNITS[left.what]}
    row |= {"other": right if isinstance(right, float) else named(right)}
    row |= {"asks": "exceeds" if one.exceeds is not None else "equals", "by": one.by}
    row |= {"matters": one.matters} if isinstance(one, Comparison) else {}
    row |= {"within": one.within} if isinstance(one, RegimeCheck) and one.within else {}
    return row | {"numbers": {}}


def sides(one: Contrast, chosen: Chosen) -> tuple[Number, Number | float]:
    left, right = one.sides
    if chosen is None:
        return left, right
    return left.with_choices(chosen), right if isinstance(right, float) else right.with_choices(chosen)


def arms_needed(claim: Claim, chosen: Chosen, tables: Sequence[str] = ()) -> list[str]:
    """The arms whose runs the comparisons are made of, in the recipe's order; a `best` without a choice yet needs all
    its arms."""
    found: set[str] = set()
    for table, one in claim.statement.contrasts():
        if not tables or table in tables:
            found |= {arm for side in sides(one, chosen) if isinstance(side, Number) for arm in side.arms}
    assert claim.recipe.compare is not None, "a claim is read only if its recipe compares something"
    names = [str(table.get("name") or table.get("method")) for table in claim.recipe.compare.arms]
    return [name for name in names if name in found]


def load_seed(folder: Path, arms: Sequence[str], seed: int) -> dict[str, ArmResults] | None:
    """The arms' runs in one seed; None unless all of them are finished."""
    places = {arm: folder / "arms" / arm / f"seed-{seed}" for arm in arms}
    if not all((place / "summary.json").is_file() for place in places.values()):
        return None
    return {arm: ArmResults(arm, (load_run(place),)) for arm, place in places.items()}


def pair_of(one: Contrast, chosen: Chosen, block: Sequence[Runs]) -> list[float | None]:
    """Both numbers of a comparison in a block of seeds, mostly of one."""
    return [side if isinstance(side, float) else found(side, block) for side in sides(one, chosen)]


def found(side: Number, block: Sequence[Runs]) -> float | None:
    """A number in a block of seeds; None where a run doesn't have it."""
    try:
        # `less` may itself have a `less`: a − (b − c)
        return sum((-1) ** k * value(term, block) for k, term in enumerate(side.terms()))
    except Missing:
        return None


def value(term: Number, block: Sequence[Runs]) -> float:
    """A term in a block of seeds: the mean over them, or that of the tuned arm."""
    arms_A = term.tuned or (term.arm,)
    x_SA = np.array([[quantity(term, runs[arm]) for arm in arms_A] for runs in block])
    return tuned(x_SA, term.tuned_on, term.measured) if term.tuned else float(x_SA.mean())


def quantity(term: Number, arm: ArmResults) -> float:
    return float(lookup("quantity", term.what)(arm, **term.keys).mean)


def tuned(x_SA: np.ndarray, over: int, measured: str) -> float:
    """The number of the arm that is best on so many seeds, on these or on the others; the mean over all choices of the
    seeds. Blocks and not all seeds at once, since of these a jackknife interval was too narrow (it covers 83% of 16
    seeds where one of eight arms is better by two standard deviations)."""
    total, found = np.arange(len(x_SA)), []
    for seeds in combinations(total, over):
        own = list(seeds)
        best = x_SA[own].mean(0).argmax()
        rows = own if measured == "tuning seeds" else [s for s in total if s not in seeds]
        found.append(x_SA[rows, best].mean())
    return float(np.mean(found))


def seconds_of(runs: Runs) -> dict[str, float | None]:
    """The seconds that each arm's training took."""
    return {name: arm.runs[0].summary.get("cost", {}).get("seconds") for name, arm in runs.items()}
