"""A check's verdict in words, for the terminal, Markdown, HTML and JUnit alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalpel.evaluation.ledger import Ledger
from scalpel.evaluation.number_words import percent

HEAD = ("ability", "items", "base", "tuned", "lost", "retention", "verdict")
ORDER = ("lost", "too few items to tell", "kept", "the base has too little of it")


def headline(found: Mapping[str, Any]) -> str:
    """The verdict in one sentence."""
    of = named(found)
    floor = percent(found["floor"])
    if of["lost"]:
        return (
            f"Failed: {listed(of['lost'])} {'is' if len(of['lost']) == 1 else 'are'} surely below {floor} of the base."
        )
    if found["status"] == "passed":
        return f"Passed: every ability that the base has is surely at {floor} of it or above."
    if not of["kept"] and not of["too few items to tell"]:
        return "Undecided: the base has none of the abilities that were asked for."
    return f"Undecided: nothing is surely below {floor}, but there are too few items to tell of {listed(of[ORDER[1]])}."


def named(found: Mapping[str, Any]) -> dict[str, list[str]]:
    return {kind: [row["name"] for row in found["abilities"] if row["decision"] == kind] for kind in ORDER}


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row an ability, the lost ones first."""
    return [cells(row) for kind in ORDER for row in found["abilities"] if row["decision"] == kind]


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    n = max(1, row["items"])
    return (
        row["name"],
        str(row["items"]),
        percent(row["before"] / n),
        percent(row["after"] / n),
        str(row["lost"]),
        ratio(row["retention"]),
        row["decision"],
    )


def ratio(found: Mapping[str, float | None]) -> str:
    if found["mean"] is None or found["low"] is None:
        return "–"
    high = "" if found["high"] is None else percent(found["high"])
    return f"{percent(found['mean'])} ({percent(found['low'])} to {high or '…'})"


def drift(ledgers: Sequence[Ledger]) -> str:
    """The divergence on the base's own text; empty where it wasn't measured."""
    values = [e.logp_after for one in ledgers if one.kind == "drift" for e in one.entries if e.logp_after is not None]
    if not values:
        return ""
    return f"Divergence from the base on text that it wrote by itself: {sum(values) / len(values):.3g} nats a token."


def advice(found: Mapping[str, Any]) -> list[str]:
    """What to try next, with its command."""
    lost = named(found)["lost"]
    if not lost:
        return []
    sets = ", ".join(f'{{name = "{name}", task = {{name = "suite/{name}"}}}}' for name in lost[:3])
    return [
        f"Tune again under a floor: [keep] floor = {found['floor']}, sets = [{sets}] in a recipe of `scalpel train`.",
        "Mix text of the base's own into the data (the row `sft-replay` or the source `self-written`).",
        f"See where the weights moved: `scalpel diff {found['base']} {found['tuned']}`.",
    ]
