"""Answers that the verifier couldn't judge: unread (it found no answer in the output) and cut off by `max_tokens`.

An unread answer counts as wrong, and a truncated one mostly is. Where there are many of them, a change in accuracy may
be a change of format rather than of knowledge, so the report says how many there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalpel.evaluation.number_words import percent
from scalpel.evaluation.results import ArmResults

MANY = 0.1  # a share above this is warned of
KINDS = {
    "unread": (
        "Unread, and counted as wrong",
        "The verifier found no answer in them: ask for the format that it reads, or take another verifier.",
    ),
    "cut_off": ("Cut off by max_tokens, where few can be right", "Raise max_tokens of these probes."),
}
NAMES = {"unread": "unread", "cut_off": "cut off"}
Rows = Sequence[Mapping[str, Any]]  # of arms, as in comparison.json


def shares(arm: ArmResults, probe: str) -> dict[str, Any]:
    """The shares of unread and of cut-off answers of a probe before and after, as means over seeds."""
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
    """One warning for each kind whose share exceeds MANY on some probe."""
    words = []
    for kind, (what, advice) in KINDS.items():
        if found := listed(rows, kind, MANY):
            words.append(f"{what}: {found}. {advice}")
    return words


def notes(rows: Rows) -> list[str]:
    """One line for each kind that occurs at all."""
    return [f"Answers {NAMES[kind]}: {found}." for kind in KINDS if (found := listed(rows, kind, 0.0))]


def listed(rows: Rows, kind: str, above: float) -> str:
    """`of sums 12% by the base, 34% by sft; …`, for the shares above a limit. The base is the same for all arms, so it
    is listed with the first one only."""
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
    """`12% unread, 3% cut off`, for the second line of a table's cell."""
    found = [(NAMES[kind], (probe.get(kind) or {}).get(side)) for kind in KINDS]
    return ", ".join(f"{percent(share)} {name}" for name, share in found if share)
