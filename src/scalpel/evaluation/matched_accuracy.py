"""Forgetting at the same target accuracy: a method that learnt less has also forgotten less.

Each run's checkpoints make a path of (target accuracy, forgetting). At a level a, between the last
checkpoint below it and the first at or above it:

  w = (a − target₁) / (target₂ − target₁),   forgetting(a) = (1 − w) · forgetting₁ + w · forgetting₂

and the same for the step and the FLOPs that it took.
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
    """What one checkpoint showed: target accuracy, share of old abilities lost, and its cost so far."""

    step: float
    flops: float
    target: float
    forgetting: float


def path(run: RunResults, targets: Sequence[str], abilities: Sequence[str]) -> list[Checkpoint]:
    """The run's probed checkpoints in order; those that lack a probe are left out."""
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
    """That metric of each of the probes that were looked at in this checkpoint."""
    found = [line.get(f"probe/{name}/{what}") for name in probes]
    return [value for value in found if value is not None and isfinite(value)]


def at_level(points: Sequence[Checkpoint], level: float) -> Checkpoint | None:
    """Where the path first reaches the level; None if it never does."""
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
    """The levels worth a row: above where the runs start, and reached by one of them.

    The highest level that every run reached is among them, rounded down to a percent: there alone
    all arms can be compared.
    """
    paths = [points for points in paths if points]
    if not paths:
        return []
    start = max(points[0].target for points in paths)
    tops = [max(checkpoint.target for checkpoint in points) for points in paths]
    common = int(100 * min(tops) + 1e-9) / 100
    return sorted({level for level in (*LEVELS, common) if start < level <= max(tops)})


def matched(arms: Sequence[ArmResults], targets: Sequence[str], abilities: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each level: every arm's forgetting there, mean and range over the seeds that reached it."""
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
