"""The outcomes of a claim in words, for the page and the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalpel.claims.by_seed import Row
from scalpel.claims.quantities import PERCENT, POINTS
from scalpel.evaluation.number_words import MINUS, points

HEADINGS = ("", "comparison", "difference", "what matters", "outcome", "would have seen")
TITLES = {"primary": "primary", "parts": "part", "regime_checks": "regime"}
DECIDED = ("replicates", "contradicts", "absent")


def amount(number: float, unit: str) -> str:
    if unit == POINTS:
        return f"{points(number)} points"
    return (f"{100 * number:.3g}%" if unit == PERCENT else f"{number:.3g}").replace("-", MINUS)


def row_words(row: Row) -> tuple[str, ...]:
    """A comparison as a row of a table."""
    unit, what = row["unit"], comparison(row)
    if row["table"] == "regime_checks":
        return TITLES["regime_checks"], what, mean_of(row), wanted(row), holds(row), "–"
    seen = amount(row["smallest_seen"], unit) if row.get("smallest_seen") is not None else "–"
    outcome = row.get("why") or row.get("outcome", "not judged yet")
    return TITLES[row["table"]], what, effect(row), amount(row["matters"], unit), outcome, seen


def mean_of(row: Row) -> str:
    """The mean difference of a regime check; of a constant, the number itself."""
    mean, constant = row.get("mean"), row["other"] if isinstance(row["other"], float) else 0.0
    return "–" if mean is None else amount(mean + row["by"] + constant, row["unit"])


def wanted(row: Row) -> str:
    """What a regime check asks of its mean."""
    constant = row["other"] if isinstance(row["other"], float) else 0.0
    if "within" in row:
        return f"{amount(constant, row['unit'])} ± {amount(row['within'], row['unit'])}"
    return f"above {amount(constant + row['by'], row['unit'])}"


def holds(row: Row) -> str:
    return "not judged yet" if "holds" not in row else "holds" if row["holds"] else "fails"


def comparison(row: Row) -> str:
    """What is claimed: in the claim's own words, or as `gain of sft exceeds gain of grpo by 5 points`."""
    if row["says"]:
        return str(row["says"])
    unit = row["unit"]
    other = amount(row["other"], unit) if isinstance(row["other"], float) else row["other"]
    return f"{row['that']} {row['asks']} {other}" + (f" by {amount(row['by'], unit)}" if row["by"] else "")


def effect(row: Row) -> str:
    """`12 points (9 to 15)`: that − other with the interval at the level of the look."""
    if "difference" not in row:
        return "–"
    mean, low, high = (row["difference"][key] + row["by"] for key in ("mean", "low", "high"))
    unit = row["unit"]
    if unit == POINTS:
        return f"{points(mean)} points ({points(low)} to {points(high)})"
    return f"{amount(mean, unit)} ({amount(low, unit)} to {amount(high, unit)})"


def verdict_words(found: Mapping[str, Any]) -> str:
    """The verdict with its reason: `Replicates, after 4 seeds: 12 points (9 to 15), where 5 points matter.`"""
    verdict, row = found["verdict"], found["rows"][0]
    if verdict == "not in its regime":
        return f"Not in its regime: {failing(found)}."
    if not found["seeds"]:
        return f"Inconclusive: {len(found['seconds'])} seeds were run, too few for the first look."
    if verdict != "inconclusive":
        return (
            f"{verdict.capitalize()}, after {found['seeds']} seeds: {effect(row)}, where "
            f"{amount(row['matters'], row['unit'])} matter."
        )
    return f"Inconclusive after {found['seeds']} seeds: {unseen(found)}."


def failing(found: Mapping[str, Any]) -> str:
    """The first regime check that fails, on the pilot seeds or on the test seeds."""
    seeds = (("pilot seeds", found["pilot"]["checks"]), ("test seeds", found["rows"]))
    for where, rows in seeds:
        for row in rows:
            if row.get("holds") is False:
                return f"on the {where} “{comparison(row)}” fails ({mean_of(row)}, and not {wanted(row)})"
    return "a check fails"


def unseen(found: Mapping[str, Any]) -> str:
    """What the seeds could have told, and how many would tell an effect that matters."""
    row = found["rows"][0]
    if "why" in row:
        return str(row["why"])
    seen = row["smallest_seen"]
    words = "" if seen is None else f"an effect of {amount(seen, row['unit'])} would have been seen with 80% power"
    needed, block = row["seeds_needed"], len(found["seconds"]) // max(1, len(row["numbers"]))
    if needed is None:
        return words
    return f"{words}, and about {needed * block} seeds would tell one of {amount(row['matters'], row['unit'])}"
