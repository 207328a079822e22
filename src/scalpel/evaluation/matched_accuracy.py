"""Forgetting at matched target accuracy. A method that learnt less has also forgotten less, so arms are compared at
equal target accuracy as well as at equal budget.

The evaluations during a run make a path of (target accuracy, forgetting). At a level a, between the last
evaluation below it and the first at or above it, both are interpolated linearly:

  w = (a − target₁) / (target₂ − target₁),   forgetting(a) = (1 − w) · forgetting₁ + w · forgetting₂

and the same for the step and the FLOPs spent until then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from scalpel.evaluation.results import ArmResults, RunResults

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


@dataclass(frozen=True)
class Checkpoint:
    """One evaluation during a run: target accuracy, share of old abilities lost, and the cost until then."""

    step: float
    flops: float
    target: float
    forgetting: float


def path(run: RunResults, targets: Sequence[str], abilities: Sequence[str]) -> list[Checkpoint]:
    """The evaluations of a run in order of steps; those without every target, or without any old ability, are left
    out."""
    found = []
    for line in sorted(run.probes, key=lambda line: line["step"]):
        rights = present(line, targets, "accuracy")
        kept = present(line, abilities, "kept")
        if rights and kept and len(rights) == len(targets):
            found.append(
                Checkpoint(
                    step=line["step"],
                    flops=line.get("flops", 0.0),
                    target=sum(rights) / len(rights),
                    forgetting=1 - sum(kept) / len(kept),
                )
            )
    return found


def present(line: dict[str, Any], probes: Sequence[str], what: str) -> list[float]:
    """The metric `what` of those probes that this line of metrics.jsonl has, without NaN."""
    found = [line.get(f"probe/{name}/{what}") for name in probes]
    return [value for value in found if value is not None and isfinite(value)]


def at_level(points: Sequence[Checkpoint], level: float) -> Checkpoint | None:
    """The interpolated point at which the path first reaches the level; None if it never does.

    The first crossing counts, even if the accuracy falls below the level again: it is where a user would stop.
    """
    for index, here in enumerate(points):
        if here.target >= level:
            return here if index == 0 else between(points[index - 1], here, level)
    return None


def between(low: Checkpoint, high: Checkpoint, level: float) -> Checkpoint:
    w = (level - low.target) / (high.target - low.target)

    def mix(a: float, b: float) -> float:
        return (1 - w) * a + w * b

    return Checkpoint(
        step=mix(low.step, high.step),
        flops=mix(low.flops, high.flops),
        target=level,
        forgetting=mix(low.forgetting, high.forgetting),
    )


def levels(paths: Sequence[Sequence[Checkpoint]]) -> list[float]:
    """The levels that make a row: above the accuracy at which the runs start, and reached by at least one of them.

    The highest level that every run reached is among them, rounded down to a percent: it is the highest at which all
    arms can be compared.
    """
    paths = [points for points in paths if points]
    if not paths:
        return []
    start = max(points[0].target for points in paths)
    tops = [max(checkpoint.target for checkpoint in points) for points in paths]
    common = int(100 * min(tops) + 1e-9) / 100  # 1e-9: 100 · 0.29 is 28.999… in floating point
    return sorted({level for level in (*LEVELS, common) if start < level <= max(tops)})


def matched(arms: Sequence[ArmResults], targets: Sequence[str], abilities: Sequence[str]) -> list[dict[str, Any]]:
    """One row per level: every arm's forgetting there, as mean and range over the seeds that reached it.

    Seeds that didn't reach a level are absent from its mean, so each cell says how many reached it.
    """
    paths = {arm.name: [path(run, targets, abilities) for run in arm.runs] for arm in arms}
    rows = []
    for level in levels([points for runs in paths.values() for points in runs]):
        cells = {name: cell([at_level(points, level) for points in runs]) for name, runs in paths.items()}
        rows.append({"level": level, "arms": cells})
    return rows


def cell(found: Sequence[Checkpoint | None]) -> dict[str, Any]:
    reached = [checkpoint for checkpoint in found if checkpoint is not None]
    row: dict[str, Any] = {"reached": len(reached), "of": len(found)}
    if reached:
        lost = [checkpoint.forgetting for checkpoint in reached]
        row |= {"forgetting": sum(lost) / len(lost), "low": min(lost), "high": max(lost)}
        row |= {"step": sum(c.step for c in reached) / len(reached)}
        row |= {"flops": sum(c.flops for c in reached) / len(reached)}
    return row
