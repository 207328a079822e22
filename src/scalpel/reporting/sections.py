"""The sections of the HTML report. Every text from a model, a recipe or a data set is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from scalpel.evaluation.matched_accuracy import path
from scalpel.evaluation.number_words import (
    duration,
    memory,
    percent,
    point_range,
    points,
    quantity,
    signed,
)
from scalpel.evaluation.statistics import Interval
from scalpel.evaluation.unread import beneath
from scalpel.reporting.figures import style
from scalpel.reporting.view import View

Cell = tuple[str, str] | str  # the text of a cell, and a second line in small print


def verdict(view: View) -> str:
    """The verdict in words, before any table."""
    found = view.comparison["verdict"]
    words = "".join(f"<li>{escape(text)}</li>" for text in found["words"])
    return f"<ul class=words>{words}</ul><p class=note>{escape(view.comparison['rule'])}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], strong: str | None = None) -> str:
    """A table whose first column names its rows; the row named `strong` is emphasised."""
    top = "".join(f"<th scope=col>{escape(text)}</th>" for text in head)
    body = "".join(
        f"<tr{' class=strong' if row[0] == strong else ''}><th scope=row>{cell(row[0])}</th>"
        + "".join(f"<td>{cell(one)}</td>" for one in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<div class=wide><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def cell(value: Cell) -> str:
    if isinstance(value, str):
        return escape(value)
    return f"{escape(value[0])}<small>{escape(value[1])}</small>"


def arms(view: View) -> str:
    """Gain, forgetting and net of each arm, with intervals; a dash where one was not measured."""
    rows = [
        (
            row["name"],
            ranged(row["gain"], plus=True),
            ranged(row["forgetting"]),
            worst(row["worst"]),
            ranged(row["net"], plus=True),
            str(len(row["seeds"])),
        )
        for row in view.rows
    ]
    return table((view.one, "gained", "forgotten", "worst hit", "net", "seeds"), rows, view.take)


def worst(found: Mapping[str, Any] | None) -> Cell:
    if not found:
        return "–"
    return (percent(found["lost"]), found["probe"]) if found["lost"] else "none"


def ranged(found: Mapping[str, float] | None, plus: bool = False) -> Cell:
    if found is None:
        return "–"
    interval = Interval(**found)
    return (signed(interval.mean) if plus else points(interval.mean), point_range(interval))


def probes(view: View) -> str:
    """Every probe under every arm: accuracy before and after, with the verdict on the change."""
    by_arm = {row["name"]: {probe["probe"]: probe for probe in row["probes"]} for row in view.rows}
    first = next(iter(by_arm.values()))
    if not first:
        return "<p class=note>The recipe has no probes: nothing was measured before and after.</p>"
    rows: list[list[Cell]] = []
    for name, probe in first.items():
        kind = "target" if probe["role"] == "target" else probe["kind"]
        found = [after(columns[name]) for columns in by_arm.values()]
        many = "1 item" if probe["items"] == 1 else f"{probe['items']} items"
        rows.append([(name, f"{kind}, {many}"), before(probe), *found])
    return table(("probe", "base", *by_arm), rows)


def before(probe: Mapping[str, Any]) -> Cell:
    if "before" in probe:
        return percent(probe["before"]), beneath(probe, "before")
    return figure(probe["value"]["before"]) if probe["value"] else "–"


def after(probe: Mapping[str, Any]) -> Cell:
    """The result after training, with the verdict, or with the interval of the change if there is no right and
    wrong."""
    if "after" in probe:
        return percent(probe["after"]), "; ".join(filter(None, (probe["verdict"], beneath(probe, "after"))))
    if not probe["value"]:
        return "–"
    change = Interval(**probe["value"]["change"])
    return figure(probe["value"]["after"]), f"{figure(change.low)} to {figure(change.high)}"


def figure(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def matched(view: View) -> str:
    """Forgetting of each arm at matched target accuracy. Empty for a single arm."""
    found = view.comparison["matched"]
    if len(view.arms) == 1:
        return ""
    if not found:
        return f"<p class=note>{unmatched(view)}, so there is no accuracy at which arms could be compared.</p>"
    names = [row["name"] for row in view.rows]
    rows = [[f"{percent(row['level'])} right", *(at(row["arms"][name]) for name in names)] for row in found]
    return table(("target", *names), rows)


def unmatched(view: View) -> str:
    """Why there is no level of target accuracy at which arms could be compared."""
    targets, abilities = view.comparison["targets"], view.comparison["abilities"]
    if not targets or not abilities:
        return f"{'Forgetting' if targets else 'Gain'} was not measured"
    paths = [path(run, targets, abilities) for arm in view.arms for run in arm.runs]
    if not any(paths):
        return "No run was evaluated during training"
    risen = any(here.target > points[0].target for points in paths for here in points)
    if risen:
        return "The arms rose too little above the base"
    return "No evaluation during training found an arm above the base"


def at(found: Mapping[str, Any]) -> Cell:
    if not found["reached"]:
        return "not reached"
    lost = f"{percent(found['forgetting'])} lost"
    after = f"step {found['step']:.0f}"
    if found["of"] > 1:
        after = f"{percent(found['low'])} to {percent(found['high'])}; {after}"
    return lost, after if found["reached"] == found["of"] else f"{after}; {found['reached']} of {found['of']} seeds"


def recovered(view: View) -> str:
    """The recovered shares of lost items, with those of the control."""
    rows: list[list[Cell]] = []
    for row in view.rows:
        found = row["recovery"]
        if found and found["lost"]["tested"]:
            rows.append([row["name"], *(share(found, push) for push in ("any", "within_k", "halfway", "conjugate"))])
    if not rows:
        return ""
    head = (view.one, "came back in any test", "within k samples", "halfway to the base", "in a conjugate form")
    note = (
        "Lost items that some recovery test brings back are suppressed, the others erased. Below each share is the "
        "control: the same test on items that the base never knew and that are as hard to guess. A share that does not "
        "exceed it may be guessing."
    )
    return f"<h3>Suppressed or erased</h3>{table(head, rows)}<p class=note>{note}</p>"


def share(found: Mapping[str, Any], push: str) -> Cell:
    lost, control = (found[side] if push == "any" else found[side].get(push) for side in ("lost", "control"))
    if not lost:
        return "–"
    text = f"{lost['recovered']} of {lost['tested']} ({percent(lost['recovered'] / lost['tested'])})"
    if not control or not control["tested"]:
        return text, "no control"
    return text, f"never known: {percent(control['recovered'] / control['tested'])} of {control['tested']}"


def floors(view: View) -> str:
    """The retention floor of each arm at the end and during training, with the cost of its evaluations."""
    rows: list[list[Cell]] = []
    for row in view.rows:
        if found := row.get("floor"):
            spent = row["cost"]["flops"]
            share = f"{percent(found['flops'] / spent)} of the FLOPs" if spent else "–"
            rows.append(
                [
                    row["name"],
                    percent(found["floor"]),
                    (f"{found['held']} of {found['of']} seeds", f"violated beyond chance in {found['broken']}"),
                    (percent(found["least"]["left"]), found["least"]["ability"]) if found["least"] else "–",
                    held_from(found),
                    "–" if found["below"] is None else f"{percent(found['below'])} of evaluations",
                    (share, duration(found["seconds"])),
                ]
            )
    if not rows:
        return ""
    head = (view.one, "floor", "held at the end", "lowest retention", "held from", "below it in", "cost of evaluations")
    note = (
        "Shares of what the base gets right in the keep sets, whose items the ledger doesn't measure. At the end the "
        "whole keep sets are scored, during training a few items of each. “Held from” is the step after which no "
        "evaluation found a violation beyond chance, in any seed. A run without the floor shows its cost in gain."
    )
    return f"{table(head, rows, view.take)}<p class=note>{note}</p>"


def held_from(found: Mapping[str, Any]) -> str:
    """The step after which the floor held; a dash if it was never evaluated during training."""
    if found["below"] is None:
        return "–"
    return "not at the last evaluation" if found["since"] is None else f"step {found['since']}"


def cost(view: View) -> str:
    """The cost of each arm, and how its learning rate was chosen."""
    rows = []
    for row in view.rows:
        spent = row["cost"]
        rows.append(
            [
                row["name"],
                quantity(spent["tokens_trained"]),
                quantity(spent["tokens_sampled"]),
                quantity(spent["flops"]),
                duration(spent["seconds"]),
                memory(spent["peak_memory_bytes"]),
                (plain(row["learning_rate"]), grid(row)),
                (plain(row["steps"]), row["stopped"] or ""),
            ]
        )
    head = (view.one, "tokens trained", "tokens sampled", "FLOPs", "time", "peak memory", "learning rate", "steps")
    budget = view.comparison["budget"]
    unit = {"flops": "FLOPs"}.get(budget["unit"], budget["unit"]) if budget else ""
    text = f"The budget of each run was {quantity(budget['amount'])} {unit}. " if budget else ""
    text += "" if view.alone else "Means over seeds. "
    if any(row["grid"] for row in view.rows):
        text += "Below a learning rate: the grid that was tried on tuning items, and the cost of the trials."
    return f"{table(head, rows, view.take)}<p class=note>{escape(text)}</p>"


def plain(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def grid(row: Mapping[str, Any]) -> str:
    """The learning rates that were tried, with the target accuracy of each, and the FLOPs of all trials."""
    tried = row["grid"] or []
    rates = ", ".join(f"{plain(one['learning_rate'])} ({percent(one['accuracy'])})" for one in tried)
    spent = (row["tuning_cost"] or {}).get("flops")
    return f"of {rates}" + (f"; {quantity(spent)} FLOPs" if spent else "") if rates else ""


def again(view: View) -> str:
    """What is needed to repeat the run: the recipe and the versions."""
    versions = table(("what", "version"), [(key, plain(value)) for key, value in view.environment.items()])
    recipe = f"<pre>{escape(view.recipe)}</pre>" if view.recipe else "<p class=note>The folder holds no recipe.</p>"
    return f"<div class=again>{recipe}{versions if view.environment else ''}</div>"


def legend(view: View) -> str:
    """The legend of arms and their colours, for all panels of a section."""
    return "<p class=legend>" + "".join(
        f'<span><i style="background:{style(index)[0]}"></i>{escape(arm.name)}</span>'
        for index, arm in enumerate(view.arms)
    ) + "</p>"  # fmt: skip
