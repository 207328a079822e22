"""Cost, weight change, retention floor and recovered items of one arm, aggregated over its seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scalpel.evaluation.matching import Pair, about, enough, pairs_of
from scalpel.evaluation.recovery import PUSHES
from scalpel.evaluation.results import ArmResults
from scalpel.evaluation.statistics import excess, wilson

SURE = 0.95  # one-sided confidence of an upper bound; the same as the retention floor uses during training
COSTS = ("tokens_trained", "tokens_sampled", "flops", "seconds", "peak_memory_bytes")


def cost(arm: ArmResults) -> dict[str, float | None]:
    """Mean over seeds of each cost that every seed recorded; None for the others, since a mean over some of the seeds
    would compare arms at different work."""
    return {name: mean(run.summary.get("cost", {}).get(name) for run in arm.runs) for name in COSTS}


def mean(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


def weights(arm: ArmResults) -> dict[str, Any] | None:
    """The table of relative weight change (components × layers), each cell the mean over seeds."""
    tables = [table for run in arm.runs if (table := run.summary.get("weights"))]
    if not tables:
        return None
    first = tables[0]
    # a seed whose table has another shape has no cells that could be averaged with those of the first
    alike = [t for t in tables if (t["components"], t["layers"]) == (first["components"], first["layers"])]
    cells = [
        [mean(table["relative"][row][column] for table in alike) for column in range(len(first["layers"]))]
        for row in range(len(first["components"]))
    ]
    return {"components": first["components"], "layers": first["layers"], "relative": cells}


def floor(arm: ArmResults) -> dict[str, Any] | None:
    """The retention floor at the end of the runs, over seeds; None where an arm had none."""
    # of several stages, the last one that has a floor counts
    found = [run.summary["floors"][-1] for run in arm.runs if run.summary.get("floors")]
    if not found:
        return None
    left = {name: mean(one["left"].get(name) for one in found) for name in found[0]["left"]}
    known = {name: share for name, share in left.items() if share is not None}
    least = min(known, key=lambda name: known[name], default=None)
    return {
        "floor": found[0]["floor"],
        "held": sum(one["held"] for one in found),
        "broken": sum(broken(one) for one in found),
        "of": len(found),
        "left": left,
        "least": {"ability": least, "left": known[least]} if least is not None else None,
        "since": since([one["since"] for one in found]),
        "below": mean(one["below"] / one["looks"] if one["looks"] else None for one in found),
        **{key: mean(one[key] for one in found) for key in ("flops", "seconds", "strength")},
    }


def broken(one: Mapping[str, Any]) -> bool:
    """Whether the floor was violated beyond chance: for some ability even the upper confidence bound of the retained
    share lies below it."""
    left = ((share, one["units"][name]) for name, share in one["left"].items() if share is not None)
    return any(wilson(share * units, units, 2 * SURE - 1).high < one["floor"] for share, units in left)


def since(steps: Sequence[int | None]) -> int | None:
    """The step after which the floor held in every seed; None if it was violated at the end of some seed."""
    known = [step for step in steps if step is not None]
    return max(known) if len(known) == len(steps) else None


def recovery(arm: ArmResults) -> dict[str, Any] | None:
    """Recovered items among the lost and, as a control, among the never known that match them, over all probes and
    seeds of the arm.

    The p-value is that of a permutation test over items, within each probe. An item counts once, with the share of its
    seeds in which it came back, however many seeds tested it. It is None where too few lost items have a match.
    """
    found = [row for run in arm.runs for row in run.recovery.values() if row]
    if not found:
        return None
    lost, control = total(row["lost"] for row in found), total(row["control"] for row in found)
    pairs = {probe: [pair for run in arm.runs for pair in pairs_of(run.ledgers[probe])] for probe in arm.probes}
    every = [pair for own in pairs.values() for pair in own]
    p = None
    if enough(len(every), lost["tested"]):
        p = excess([(item_shares(own, 0), item_shares(own, 1)) for own in pairs.values()])
    k = max((row["k"] or 0 for row in found), default=0)
    return {"k": k, "lost": lost, "control": control, "matched": about(every), "p": p}


def item_shares(pairs: Sequence[Pair], side: int) -> list[float]:
    """For each item on that side of the pairs, the share of its seeds in which some recovery test got it."""
    found: dict[str, list[bool]] = {}
    for pair in pairs:
        found.setdefault(pair[side].id, []).append(bool(pair[side].recovered))
    return [sum(flags) / len(flags) for flags in found.values()]


def total(tallies: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The sum of the tallies, over all recovery tests and for each."""
    tallies = list(tallies)
    found: dict[str, Any] = add(tallies)
    if found["tested"]:
        found["share"] = wilson(found["recovered"], found["tested"])._asdict()
    for push in PUSHES:
        made = [tally[push] for tally in tallies if push in tally]
        if made:
            found[push] = add(made)
    return found


def add(tallies: list[dict[str, Any]]) -> dict[str, int]:
    return {key: sum(tally[key] for tally in tallies) for key in ("tested", "recovered")}
