"""Answers that told nothing: unread ones, in which the verifier found none, and those cut off by the limit of tokens.

An unread answer counts as wrong, and one without its end mostly is. Where they are many, a change of what is right may
be one of how answers are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalpel.evaluation.number_words import percent
from scalpel.evaluation.results import ArmResults

MANY = 0.1  # above this share a warning says so
KINDS = {
    "unread": (
        "Unread, and counted as wrong",
        "The verifier found no answer in them: ask for the form that it reads, or take another verifier.",
    ),
    "cut_off": ("Cut off by max_tokens, where few can be right", "Raise max_tokens of these probes."),
}
NAMES = {"unread": "unread", "cut_off": "cut off"}
Rows = Sequence[Mapping[str, Any]]  # of arms, as in comparison.json


def shares(arm: ArmResults, probe: str) -> dict[str, Any]:
    """The shares of a probe's answers that were unread or cut off, before and after, as means over seeds."""
    found = {}
    for kind in KINDS:
        seen = [told for run in arm.runs if (told := run.about.get(probe, {}).get(kind))]
        if seen:
            found[kind] = {side: mean([one.get(side) for one in seen]) for side in ("before", "after")}
    return found


def mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def warnings(rows: Rows) -> list[str]:
    """A sentence for each kind of which there are many."""
    words = []
    for kind, (what, advice) in KINDS.items():
        if found := listed(rows, kind, MANY):
            words.append(f"{what}: {found}. {advice}")
    return words


def notes(rows: Rows) -> list[str]:
    """A line for each kind of which there is any."""
    return [f"Answers {NAMES[kind]}: {found}." for kind in KINDS if (found := listed(rows, kind, 0.0))]


def listed(rows: Rows, kind: str, above: float) -> str:
    """`12% of sums by the base and 34% by sft; …`, of the shares above a limit."""
    probes: dict[str, list[str]] = {}
    for k, row in enumerate(rows):
        for probe in row["probes"]:
            told = probe.get(kind) or {}
            for side, who in (("before", "the base"), ("after", row["name"])):
                share = told.get(side)
                if share is not None and share > above and (side == "after" or k == 0):
                    probes.setdefault(probe["probe"], []).append(f"{percent(share)} by {who}")
    return "; ".join(f"of {probe} {', '.join(found)}" for probe, found in probes.items())


def beneath(probe: Mapping[str, Any], side: str) -> str:
    """`12% unread, 3% cut off`, for the small print of a table."""
    found = [(NAMES[kind], (probe.get(kind) or {}).get(side)) for kind in KINDS]
    return ", ".join(f"{percent(share)} {name}" for name, share in found if share)
