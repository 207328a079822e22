"""Sentences about what was not measured, why, and how to measure it. The report makes no claim about it."""

from __future__ import annotations

from scalpel.evaluation.number_words import listed
from scalpel.evaluation.results import ArmResults, Table

HOW = "To measure it, add [[measure.probes]] with a task that the base can do."


def gain(arm: ArmResults) -> str | None:
    """Why the gain was not measured; None where it was."""
    asked = [t for t in arm.tables.values() if t.role == "target"]
    if any(t.judged for t in asked):
        return None
    why = f"{names(asked)} can't tell right from wrong" if asked else "no probe asks for the new skill"
    return f"Gain was not measured: {why}. To measure it, let the first of [[measure.probes]] ask for the new skill."


def forgetting(arm: ArmResults) -> str | None:
    """Why forgetting was not measured, on all or on some of the probes; None where it was measured on all."""
    asked = [t for t in arm.tables.values() if t.role == "keep"]
    judged = [t for t in asked if t.judged]
    unknown = [t for t in judged if not t.before_I.any()]
    if not asked:
        return f"Forgetting was not measured: no probe asks for an old ability. {HOW}"
    if not judged:
        return (
            f"Forgetting was not measured: {names(asked)} can show that the model changed, not what it can no longer "
            f"do. {HOW}"
        )
    if len(unknown) == len(judged):
        return (
            f"Forgetting was not measured: the base got no item of {names(unknown)} right, and only what it knew can "
            f"be lost. {HOW}"
        )
    if unknown:
        return f"Of {names(unknown)} the base got no item right, so nothing could be lost there; it doesn't count."
    return None


def names(tables: list[Table]) -> str:
    return listed([t.probe for t in tables])
