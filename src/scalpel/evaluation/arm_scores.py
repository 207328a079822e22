"""Gain, forgetting and net of one arm, over its seeds and items.

gain        mean over target probes of (share right after − share right before)
forgetting  mean over old abilities of (share lost, of the items that were right before)
net         gain − price · forgetting

Intervals come from the variance between seeds and between items; see `crossed.py`. Each probe weighs the same, however
many items it has, so that the size of a test set doesn't decide which ability matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scalpel.evaluation.crossed import Estimate, average, estimate
from scalpel.evaluation.lacking import lacking
from scalpel.evaluation.ledger import ALIKE, within
from scalpel.evaluation.results import ArmResults, Table
from scalpel.evaluation.statistics import CONFIDENCE, Interval
from scalpel.evaluation.unread import shares


@dataclass(frozen=True)
class ArmScores:
    """The scores of an arm as estimates, so that differences between arms are paired item by item."""

    arm: ArmResults
    gained: Estimate | None  # None where no target probe has right and wrong
    forgotten: Estimate | None  # None where the base was right on no item of any old ability
    price: float = 1.0

    @property
    def name(self) -> str:
        return self.arm.name

    @property
    def gain(self) -> Interval | None:
        return self.gained.interval() if self.gained else None

    @property
    def forgetting(self) -> Interval | None:
        return self.forgotten.interval() if self.forgotten else None

    @property
    def balance(self) -> Estimate | None:
        """gain − price · forgetting; the gain where forgetting was not measured, None where the gain was not."""
        if self.gained is None or self.forgotten is None:
            return self.gained
        return self.gained.minus(self.forgotten.times(self.price))

    @property
    def net(self) -> Interval | None:
        return self.balance.interval() if self.balance else None


def targets(arm: ArmResults) -> list[Table]:
    """The probes of the skill that is taught."""
    return [t for t in arm.tables.values() if t.role == "target" and t.judged]


def abilities(arm: ArmResults) -> list[Table]:
    """The old abilities on which the base was right at least once: only what was known can be lost."""
    return [t for t in arm.tables.values() if t.role == "keep" and t.judged and t.before_I.any()]


def score_arm(arm: ArmResults, price: float = 1.0) -> ArmScores:
    """The scores of an arm over its seeds. `price` is the cost of a point of forgetting, in points of gain."""
    gained = [changed(arm, t) for t in targets(arm)]
    forgotten = [lost(arm, t) for t in abilities(arm)]
    return ArmScores(arm, average(gained) if gained else None, average(forgotten) if forgotten else None, price)


def group(arm: ArmResults) -> tuple[int | str, ...]:
    """The arm's own group of seeds. Two arms with the same seed share no more than the order of their data, which is
    too little to lose half of the degrees of freedom for by pairing them."""
    return (arm.name, *arm.seeds)


def changed(arm: ArmResults, t: Table) -> Estimate:
    """Share right after − share right before."""
    return estimate(group(arm), t.probe, t.change_SI, (-1.0, 1.0))


def lost(arm: ArmResults, t: Table) -> Estimate:
    """Share lost of the items that were right before."""
    return estimate(group(arm), f"{t.probe}, known before", t.lost_SK, (0.0, 1.0))


def describe(arm: ArmResults) -> list[dict[str, Any]]:
    """One row per probe: before, after, gained and lost, over all seeds. What is called gained or lost is so at a
    confidence that holds for all judged probes together (Bonferroni): of fourteen that didn't change, one in two
    comparisons would otherwise show one that did."""
    confidence = 1 - (1 - CONFIDENCE) / max(1, sum(t.judged for t in arm.tables.values()))
    rows = [judged_row(arm, t, confidence) if t.judged else value_row(arm, t) for t in arm.tables.values()]
    return [row | shares(arm, row["probe"]) for row in rows]


def judged_row(arm: ArmResults, t: Table, confidence: float) -> dict[str, Any]:
    row: dict[str, Any] = {"probe": t.probe, "role": t.role, "kind": t.kind, "items": len(t.ids)}
    change = changed(arm, t)
    row |= {"before": float(t.before_I.mean()), "after": float(t.after_SI.mean())}
    row |= {"change": change.interval()._asdict(), "gained": float((t.change_SI > 0).mean())}
    row["lost"] = lost(arm, t).interval()._asdict() if t.before_I.any() else None
    row["verdict"] = in_words(change, confidence)
    return row | value_change(arm, t)


def value_row(arm: ArmResults, t: Table) -> dict[str, Any]:
    return {"probe": t.probe, "role": t.role, "kind": t.kind, "items": len(t.ids)} | value_change(arm, t)


def value_change(arm: ArmResults, t: Table) -> dict[str, Any]:
    """The change of the mean value, where every item has one."""
    if np.isnan(t.value_change_SI).any():
        return {"value": None}
    change = estimate(group(arm), t.probe, t.value_change_SI).interval()
    before, after = float(t.value_before_I.mean()), float(t.value_after_SI.mean())
    return {"value": {"unit": t.unit, "before": before, "after": after, "change": change._asdict()}}


def in_words(change: Estimate, confidence: float) -> str:
    """The verdict in the words of the ledger's rule, here from the interval of a change over all seeds, with a
    `confidence` that holds for all probes together; and of what there is too little to tell."""
    corrected = change.interval(confidence)
    if corrected.apart_from_zero:
        return "gained" if corrected.low > 0 else "lost"
    return "unchanged" if within(change.interval(), ALIKE) else f"too few {lacking(change, confidence)} to tell"


def worst(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The old ability of which the largest share was lost."""
    losses = [row for row in rows if row["role"] == "keep" and row.get("lost")]
    return max(losses, key=lambda row: row["lost"]["mean"], default=None)
