"""Gain, forgetting and net of one arm, over its seeds and items.

gain        mean over target probes of (share right after − share right before)
forgetting  mean over old abilities of (share lost, of the items that were right before)
net         gain − price · forgetting

Intervals resample seeds and items; see `statistics.replicates`. Each probe weighs the same, however many items it has,
so that the size of a test set doesn't decide which ability matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalpel.evaluation.ledger import ALIKE, within
from scalpel.evaluation.results import ArmResults, Table
from scalpel.evaluation.statistics import (
    DRAWS,
    Interval,
    bootstrap,
    interval,
    replicates,
)
from scalpel.evaluation.unread import shares


@dataclass(frozen=True)
class ArmScores:
    """The scores of an arm, with the bootstrap replicates (axis B) from which intervals and differences are made."""

    arm: ArmResults
    gain: Interval | None  # None where no target probe has right and wrong
    forgetting: Interval | None  # None where the base was right on no item of any old ability
    net: Interval | None  # equal to the gain where forgetting was not measured; None where the gain was not
    net_B: np.ndarray

    @property
    def name(self) -> str:
        return self.arm.name


def targets(arm: ArmResults) -> list[Table]:
    """The probes of the skill that is taught."""
    return [t for t in arm.tables.values() if t.role == "target" and t.judged]


def abilities(arm: ArmResults) -> list[Table]:
    """The old abilities on which the base was right at least once: only what was known can be lost."""
    return [t for t in arm.tables.values() if t.role == "keep" and t.judged and t.before_I.any()]


def score_arm(arm: ArmResults, price: float = 1.0) -> ArmScores:
    """The scores of an arm over its seeds. `price` is the cost of a point of forgetting, in points of gain."""
    gain, gain_B = None, np.zeros(DRAWS)
    if targets(arm):
        gain, gain_B = pooled(arm, ((t.probe, t.change_SI, (-1.0, 1.0)) for t in targets(arm)))
    forgetting, forgetting_B = None, np.zeros(DRAWS)
    if abilities(arm):
        forgetting, forgetting_B = pooled(arm, ((t.probe, t.lost_SK, (0.0, 1.0)) for t in abilities(arm)))
    # gain and forgetting share the draws of seeds (`seeds_of` is the arm's name), so their covariance is in the net
    net_B = gain_B - price * forgetting_B
    if gain is None:
        return ArmScores(arm, None, forgetting, None, net_B)
    net = gain.mean - price * (forgetting.mean if forgetting else 0.0)
    return ArmScores(arm, gain, forgetting, interval(net, net_B), net_B)


def pooled(
    arm: ArmResults, tables: Iterable[tuple[str, np.ndarray, tuple[float, float]]]
) -> tuple[Interval, np.ndarray]:
    """The mean over probes of each probe's mean, with its interval and its replicates. `tables` holds (probe, values of
    seeds × items, least and greatest value of an item)."""
    means, found = [], []
    for probe, values_SI, ends in tables:
        means.append(float(values_SI.mean()))
        found.append(replicates(values_SI, seeds_of=arm.name, items_of=probe, ends=ends))
    mean_B = np.mean(found, axis=0)
    return interval(float(np.mean(means)), mean_B), mean_B


def describe(arm: ArmResults) -> list[dict[str, Any]]:
    """One row per probe: before, after, gained and lost, over all seeds."""
    rows = [judged_row(t) if t.judged else value_row(t) for t in arm.tables.values()]
    return [row | shares(arm, row["probe"]) for row in rows]


def judged_row(t: Table) -> dict[str, Any]:
    row: dict[str, Any] = {"probe": t.probe, "role": t.role, "kind": t.kind, "items": len(t.ids)}
    change = bootstrap(t.change_SI, (-1.0, 1.0))
    row |= {"before": float(t.before_I.mean()), "after": float(t.after_SI.mean()), "change": change._asdict()}
    row["gained"] = float((t.change_SI > 0).mean())
    row["lost"] = bootstrap(t.lost_SK, (0.0, 1.0))._asdict() if t.before_I.any() else None
    row["verdict"] = in_words(change)
    return row | value_change(t)


def value_row(t: Table) -> dict[str, Any]:
    return {"probe": t.probe, "role": t.role, "kind": t.kind, "items": len(t.ids)} | value_change(t)


def value_change(t: Table) -> dict[str, Any]:
    """The change of the mean value, where every item has one."""
    if np.isnan(t.value_change_SI).any():
        return {"value": None}
    change = bootstrap(t.value_change_SI)
    before, after = float(t.value_before_I.mean()), float(t.value_after_SI.mean())
    return {"value": {"unit": t.unit, "before": before, "after": after, "change": change._asdict()}}


def in_words(change: Interval) -> str:
    """The verdict in the words of the ledger's rule, here from the interval of a change over all seeds."""
    if change.apart_from_zero:
        return "gained" if change.low > 0 else "lost"
    return "unchanged" if within(change, ALIKE) else "too few items to tell"


def worst(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The old ability of which the largest share was lost."""
    losses = [row for row in rows if row["role"] == "keep" and row.get("lost")]
    return max(losses, key=lambda row: row["lost"]["mean"], default=None)
