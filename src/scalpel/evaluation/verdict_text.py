"""The verdict in words: what to take, why, and what can't be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalpel.evaluation.ledger import SIGNIFICANT
from scalpel.evaluation.number_words import (
    listed,
    percent,
    point_range,
    points,
    with_range,
)
from scalpel.evaluation.statistics import Interval

Rows = Mapping[str, Mapping[str, Any]]  # the rows of comparison.json's `arms`, by name


def headline(take: str | None, rows: Rows, tied: list[str], single: bool) -> str:
    """Where gain and forgetting were measured; `single`: of one run, with nothing to compare it with."""
    if take is None and single:
        return "Keep the base: this run is not shown to be worth taking."
    if take is None and len(rows) == 1:
        return f"Keep the base: {next(iter(rows))} is not shown to be worth taking."
    if take is None:
        return "Keep the base: no arm is shown to be worth taking."
    if single:
        return "Worth taking: what it gained outweighs what it forgot."
    if len(rows) == 1:
        return f"Take {take}: what it gained outweighs what it forgot."
    if len(tied) == len(rows) - 1:
        return f"Take {take}, but no other arm can be told apart from it."
    if tied:
        return f"Take {take}; {listed(tied)} can't be told apart from it."
    return f"Take {take}."


def partial(best: Mapping[str, Any] | None, rows: Rows, tied: list[str]) -> str:
    """Where gain or forgetting was not measured: what is known, and no recommendation."""
    if best is None:
        some = any(row["forgetting"] for row in rows.values())
        return "Gain was not measured." if some else "Neither gain nor forgetting was measured."
    missing = "forgetting was not measured."
    gain = Interval(**best["gain"])
    if gain.low <= 0 and len(rows) > 1:
        return f"No arm is shown to have gained, and {missing}"
    if gain.low <= 0:
        return f"{'Worse on the target' if gain.high < 0 else 'No gain is shown'}, and {missing}"
    if len(rows) == 1:
        return f"Gained {points(gain.mean)} points on the target; {missing}"
    if len(tied) == len(rows) - 1:
        return f"{best['name']} gained the most, but no other arm can be told apart from it; {missing}"
    apart = f", though {listed(tied)} can't be told apart from it" if tied else ""
    return f"{best['name']} gained the most{apart}; {missing}"


def about(row: Mapping[str, Any]) -> str:
    """What one arm gained and lost, as far as it was measured."""
    found = []
    if row["gain"] is not None:
        gain = Interval(**row["gain"])
        found.append(f"gained {points(gain.mean)} points on the target ({point_range(gain)})")
    if row["forgetting"] is not None:
        lost = Interval(**row["forgetting"])
        found.append(f"lost {points(lost.mean)}% of what the base knew ({point_range(lost)})")
    text = f"{row['name']} {' and '.join(found)}" if found else f"{row['name']} was not measured"
    worst = row["worst"]
    if not worst or not worst["lost"]:
        return f"{text}."
    return f"{text}; the worst hit is {worst['probe']}, with {percent(worst['lost'])} lost."


def against(duel: Mapping[str, Any], measured: bool = True) -> str:
    """One arm beside the best: their nets, or their gains where forgetting was not measured."""
    difference = Interval(**duel["net"])
    of = "net" if measured else "gain"
    if not duel["apart"]:
        return (
            f"{duel['arm']} can't be told apart from {duel['than']}: their {of}s differ by {with_range(difference)} "
            "points."
        )
    how = "is worse" if measured else "gained less"
    return f"{duel['arm']} {how}: its {of} is lower than that of {duel['than']} by {with_range(difference)} points."


def none_taken(best: Mapping[str, Any], alone: bool) -> str:
    net = Interval(**best["net"])
    name = best["name"] if alone else f"The best, {best['name']},"
    if net.high < 0:
        return f"{name} nets {with_range(net)} points: it costs more than it brings."
    return (
        f"{name} nets {with_range(net)} points, and that range does not lie above zero: "
        "more items or seeds may tell, or another method."
    )


def no_limit(limit: float) -> str:
    return f"The limit of {percent(limit)} on what may be lost could not be applied."


def over_limit(names: list[str], limit: float) -> str:
    were = "were" if len(names) > 1 else "was"
    return f"{listed(names)} lost more than the limit of {percent(limit)} and {were} not considered."


def held(row: Mapping[str, Any]) -> str | None:
    """Whether the floor held, on the keep set."""
    floor = row.get("floor")
    if not floor:
        return None
    worst = floor["least"]
    least = f"least is left of {worst['ability']}: {percent(worst['left'])} of the keep set" if worst else ""
    least = least or "how much is left of each set was not recorded"
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
    if least == most:
        return f"The intervals resample items and seeds ({least} an arm)."
    single = ", and items only where there is one seed" if least == 1 else ""
    return f"The intervals resample items and seeds ({least} to {most} an arm){single}."
