"""The sentences of the verdict: which arm to take, why, and what the data can't decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalpel.evaluation.crossed import WITHIN
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
    """The headline where gain and forgetting were measured. `single` is a single run, with nothing to compare it to."""
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
    """The headline where gain or forgetting was not measured: what is known, without a recommendation."""
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
    """One sentence on what an arm gained and lost, as far as it was measured."""
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
    """An arm compared to the best: the difference of their nets, or of gains where forgetting was not measured."""
    difference = Interval(**duel["net"])
    of = "net" if measured else "gain"
    if not duel["apart"]:
        return (
            f"{duel['arm']} can't be told apart from {duel['than']}: their {of}s differ by {with_range(difference)} "
            f"points{more_seeds(duel)}."
        )
    how = "is worse" if measured else "gained less"
    return f"{duel['arm']} {how}: its {of} is lower than that of {duel['than']} by {with_range(difference)} points."


def more_seeds(duel: Mapping[str, Any]) -> str:
    """How many seeds would tell two arms apart, if they differ by what they seem to."""
    needed = duel.get("seeds_to_tell")
    if "seeds_to_tell" not in duel or (needed is not None and needed <= duel["seeds"]):
        return ""
    if needed is None and duel["lacks"] == "items":
        return ", and more seeds alone wouldn't tell: there are too few items"
    if needed is None:
        return ", and to tell a difference of that size there are too few seeds and too few items"
    return f"; if that is the true difference, about {needed} seeds an arm would tell"


def started(row: Mapping[str, Any]) -> str | None:
    """That an arm learned the target in some of its seeds only; None where all seeds learned it, or none."""
    found = row.get("starts")
    if not found:
        return None
    gains = listed([points(gain) for gain in found["by_seed"]])
    return (
        f"{row['name']} learned the target in {found['started']} of {len(found['by_seed'])} seeds (gains of {gains} "
        "points), and an interval over so few seeds doesn't measure how often it does: about "
        f"{found['needed']} would, to within {percent(WITHIN)}."
    )


def none_taken(best: Mapping[str, Any], alone: bool, lacks: str) -> str:
    """That the best arm is not shown to be worth taking; `lacks` says of what there is too little to tell."""
    net = Interval(**best["net"])
    name = best["name"] if alone else f"The best, {best['name']},"
    if net.high < 0:
        return f"{name} nets {with_range(net)} points: it costs more than it brings."
    return (
        f"{name} nets {with_range(net)} points, and that range does not lie above zero: "
        f"there are too few {lacks} to tell. More may tell, or another method may gain more."
    )


def no_limit(limit: float) -> str:
    return f"The limit of {percent(limit)} on what may be lost could not be applied."


def over_limit(names: list[str], limit: float) -> str:
    were = "were" if len(names) > 1 else "was"
    return f"{listed(names)} lost more than the limit of {percent(limit)} and {were} not considered."


def held(row: Mapping[str, Any]) -> str | None:
    """Whether an arm held its retention floor on the whole keep set; None for an arm without a floor."""
    floor = row.get("floor")
    if not floor:
        return None
    worst = floor["least"]
    least = f"{worst['ability']} kept the least: {percent(worst['left'])} of its keep set" if worst else ""
    least = least or "the retained share of each keep set was not recorded"
    if floor["held"] == floor["of"]:
        return f"{row['name']} held its floor of {percent(floor['floor'])}; {least}."
    surely = (
        f"in {floor['broken']} the violation is beyond chance"
        if floor["broken"]
        else "in the others the violation may be chance"
    )
    return (
        f"{row['name']} held its floor of {percent(floor['floor'])} in {floor['held']} of {floor['of']} seeds, "
        f"{surely}; {least}."
    )


def comes_back(row: Mapping[str, Any]) -> str | None:
    """Whether lost items were suppressed or erased, with the control; None where none was tested."""
    found = row["recovery"]
    if not found or not found["lost"]["tested"]:
        return None
    lost, pairs = found["lost"], found["matched"]
    text = f"Of {lost['tested']} lost items tested in {row['name']}, {counted(lost)} came back in some recovery test"
    if not lost["recovered"]:
        return f"{text}: they are erased, as far as these tests can tell."
    on, n, tested = listed(pairs["on"]), pairs["pairs"], lost["tested"]
    if found["p"] is None:
        few = f"{tested} lost items, {n} never-known ones that match in {on}"
        return f"{text}. Whether that is more than guessing there is no verdict: {few}."
    control = share(pairs["control"], n)
    if n == tested:
        text += f"; of as many items that the base never knew, matched in {on}, {control} did."
    else:
        text += f". Of the {n} that match, in {on}, an item that the base never knew, {share(pairs['lost'], n)} did; "
        text += f"of those items {control}."
    if found["p"] < SIGNIFICANT:
        return f"{text} That is more than guessing explains: those items were suppressed rather than erased."
    return f"{text} Guessing may explain that."


def counted(tally: Mapping[str, Any]) -> str:
    return share(tally["recovered"], tally["tested"])


def share(n: int, of: int) -> str:
    """`24 (50%)`."""
    return f"{n} ({percent(n / of)})"


def seeds(counts: list[int]) -> str:
    """Which sources of variation the intervals cover, from the number of seeds of each arm."""
    if max(counts) == 1:
        return "One seed: the intervals cover the choice of items, not that of seeds."
    least, most = min(counts), max(counts)
    if least == most:
        return f"The intervals cover the choice of items and of seeds ({least} an arm)."
    single = ", and that of items only where there is one seed" if least == 1 else ""
    return f"The intervals cover the choice of items and of seeds ({least} to {most} an arm){single}."
