"""The verdict in words: what to take, why, and what can't be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalpel.measure.ledger import SIGNIFICANT
from scalpel.measure.statistics import Interval
from scalpel.measure.words import listed, percent, point_range, points, with_range

Rows = Mapping[str, Mapping[str, Any]]  # the rows of comparison.json's `arms`, by name


def headline(take: str | None, rows: Rows, tied: list[str]) -> str:
    if take is None and len(rows) == 1:
        return "Keep the base: this run is not shown to be worth taking."
    if take is None:
        return "Keep the base: no arm is shown to be worth taking."
    if len(rows) == 1:
        return "Worth taking: what it gained outweighs what it forgot."
    if len(tied) == len(rows) - 1:
        return f"Take {take}, but no other arm can be told apart from it."
    if tied:
        return f"Take {take}; {listed(tied)} can't be told apart from it."
    return f"Take {take}."


def about(row: Mapping[str, Any]) -> str:
    """What one arm gained and lost."""
    gain = Interval(**row["gain"])
    text = f"{row['name']} gained {points(gain.mean)} points on the target ({point_range(gain)})"
    if row["forgetting"] is None:
        return f"{text}; no old ability was measured."
    lost = Interval(**row["forgetting"])
    text += f" and lost {points(lost.mean)}% of what the base knew ({point_range(lost)})"
    worst = row["worst"]
    return f"{text}; the worst hit is {worst['probe']}, with {percent(worst['lost'])} lost." if worst else f"{text}."


def against(duel: Mapping[str, Any]) -> str:
    """One arm beside the best."""
    difference = Interval(**duel["net"])
    if duel["apart"]:
        return (
            f"{duel['arm']} is worse: its net is lower than that of {duel['than']} by {with_range(difference)} points."
        )
    return (
        f"{duel['arm']} can't be told apart from {duel['than']}: their nets differ by {with_range(difference)} points."
    )


def none_taken(best: Mapping[str, Any], alone: bool) -> str:
    net = Interval(**best["net"])
    name = best["name"] if alone else f"The best, {best['name']},"
    if net.high < 0:
        return f"{name} nets {with_range(net)} points: it costs more than it brings."
    return (
        f"{name} nets {with_range(net)} points, and that range does not lie above zero: "
        "more items or seeds may tell, or another method."
    )


def over_limit(names: list[str], limit: float) -> str:
    were = "were" if len(names) > 1 else "was"
    return f"{listed(names)} lost more than the limit of {percent(limit)} and {were} not considered."


def held(row: Mapping[str, Any]) -> str | None:
    """Whether the floor held, on the keep set."""
    floor = row.get("floor")
    if not floor:
        return None
    least = f"least is left of {floor['least']['ability']}: {percent(floor['least']['left'])} of the keep set"
    if floor["held"] == floor["of"]:
        return f"{row['name']} held its floor of {percent(floor['floor'])}; {least}."
    surely = f"in {floor['broken']} it surely did not" if floor["broken"] else "in the others it may be chance"
    return (
        f"{row['name']} held its floor of {percent(floor['floor'])} in {floor['held']} of {floor['of']} seeds, "
        f"{surely}; {least}."
    )


def comes_back(row: Mapping[str, Any]) -> str | None:
    """Suppressed or erased, with the control beside it."""
    found = row["recovery"]
    if not found or not found["lost"]["tested"]:
        return None
    lost, control = found["lost"], found["control"]
    text = f"Of {lost['tested']} lost items tested in {row['name']}, {counted(lost)} came back under some push"
    if not lost["recovered"]:
        return f"{text}: erased, as far as the tests reach."
    if not control["tested"]:
        return f"{text}; there was no item that the base never knew to set beside them."
    text += f"; of {control['tested']} items that the base never knew, {counted(control)} did."
    if found["p"] < SIGNIFICANT:
        return f"{text} That is more than guessing brings: those items were suppressed rather than erased."
    return f"{text} That is no more than guessing may bring."


def counted(tally: Mapping[str, Any]) -> str:
    """`24 (50%)`."""
    return f"{tally['recovered']} ({percent(tally['recovered'] / tally['tested'])})"


def seeds(counts: list[int]) -> str:
    """What the intervals cover."""
    if max(counts) == 1:
        return "One seed: the intervals cover the choice of items, not that of the seed."
    least, most = min(counts), max(counts)
    span = f"{least}" if least == most else f"{least} to {most}"
    return f"The intervals resample items and seeds ({span} an arm)."
