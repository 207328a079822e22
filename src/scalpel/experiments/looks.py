"""The looks at a comparison: one after all of its seeds, or several, between which seeds are added until it is decided.

Looks are made anew from the kept runs each time, so a comparison that was interrupted ends as one that was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scalpel.config.recipe import CompareSpec
from scalpel.evaluation.looks import Plan, ended, in_words, planned, record
from scalpel.evaluation.results import ArmResults
from scalpel.evaluation.sequential import LEVEL
from scalpel.runs.atomic import write_json
from scalpel.runs.json_files import read_json

FILE = "looks.json"
PLANS = {"plans": [[int]]}


class Looks:
    """A comparison's looks: what is planned, and what was found so far."""

    def __init__(self, spec: CompareSpec, folder: Path) -> None:
        self.plan = plan_of(spec)
        self.adding = spec.until_decided
        self.records: list[dict[str, Any]] = []
        self.plans = plans_before(folder, self.plan) if self.adding else []
        if self.adding:  # before any verdict: what its looks spend must not be forgotten
            write_json(folder / FILE, {"plans": self.plans})

    def level(self, look: int) -> float:
        return self.plan.level(look)

    def add(self, look: int, verdict: dict[str, Any]) -> bool:
        """Records what a look found. Returns whether it was the last."""
        if not self.adding:
            return True
        self.records.append(record(self.plan, look, verdict))
        return ended(self.records[-1])

    def told(self, found: dict[str, Any]) -> dict[str, Any]:
        """The comparison with its looks, as a table and in words."""
        if not self.adding:
            return found
        verdict = found["verdict"]
        words = [*in_words(self.plan, self.records, len(self.plans)), *verdict["words"]]
        looks = {"planned": self.plan.counts, "false_take": LEVEL * len(self.plans), "made": self.records}
        return {**found, "looks": looks, "verdict": {**verdict, "words": words}}


def plan_of(spec: CompareSpec) -> Plan:
    if not spec.until_decided:
        return Plan((tuple(spec.seeds),))
    return planned(spec.seeds, spec.looks, spec.most, spec.tuning_seed)


def plans_before(folder: Path, plan: Plan) -> list[list[int]]:
    """The plans by which a verdict was made in that folder, and this one as the last of them. A comparison of fixed
    seeds was a plan of one look."""
    path, compared = folder / FILE, folder / "comparison.json"
    found: list[list[int]] = []
    if path.is_file():
        found = read_json(path, PLANS)["plans"]
    elif compared.is_file() and "verdict" in (before := read_json(compared, dict)):
        found = [[max((len(row["seeds"]) for row in before["arms"]), default=0)]]
    return found if found and found[-1] == plan.counts else [*found, plan.counts]


def in_seeds(arms: Sequence[ArmResults], seeds: Sequence[int]) -> list[ArmResults]:
    """The arms in these seeds alone, without those that finished in none of them."""
    some = [ArmResults(arm.name, tuple(run for run in arm.runs if run.seed in seeds)) for arm in arms]
    return [arm for arm in some if arm.runs]
