"""The report in the terminal: the table of arms, and the verdict in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scalpel.evaluation.number_words import (
    duration,
    percent,
    point_range,
    points,
    quantity,
    signed,
)
from scalpel.evaluation.statistics import Interval
from scalpel.evaluation.unread import notes
from scalpel.reporting.view import View, made_from, view


def terminal(folder: str | Path, console: Console) -> None:
    """Prints the table of arms and the verdict."""
    with made_from(folder):
        printed(view(folder), console)


def printed(shown: View, console: Console) -> None:
    verdict = shown.comparison["verdict"]
    console.print()
    console.print(arms_table(shown))
    for words in notes(shown.rows):
        console.print(words, style="dim", markup=False, highlight=False)
    console.print(f"[bold]{escape(verdict['headline'])}[/bold]")
    for words in verdict["words"]:
        console.print(f"· {escape(words)}", highlight=False)
    console.print(escape(shown.comparison["rule"]), style="dim", highlight=False)


def arms_table(shown: View) -> Table:
    """One row per arm, with intervals below the values; the arm to take is bold."""
    table = Table(title=f"{escape(shown.name)}: gained, forgotten, spent", title_justify="left", pad_edge=False)
    table.add_column(shown.one)
    for heading in ("gain", "forgotten", "worst hit", "net", "FLOPs", "time"):
        table.add_column(heading, justify="right")
    for row in shown.rows:
        table.add_row(*cells(row), style="bold" if row["name"] == shown.take else "")
    for name in shown.comparison["failed"]:
        table.add_row(escape(name), "no result", *[""] * 5, style="dim")
    table.caption = (
        "Points, with 95% intervals. Forgotten: lost share of what the base knew. Net: gain − price × forgotten. "
        "–: not measured."
    )
    table.caption_justify = "left"
    return table


def cells(row: dict[str, Any]) -> list[str]:
    worst = row["worst"]
    return [
        escape(row["name"]),
        ranged(row["gain"], signed),
        ranged(row["forgetting"], points),
        f"{escape(worst['probe'])}\n[dim]{percent(worst['lost'])} lost[/dim]"
        if worst and worst["lost"]
        else "none"
        if worst
        else "–",
        ranged(row["net"], signed),
        quantity(row["cost"]["flops"]),
        duration(row["cost"]["seconds"]),
    ]


def ranged(found: Mapping[str, float] | None, words: Callable[[float], str]) -> str:
    """A value with its interval below; a dash where it was not measured."""
    if found is None:
        return "–"
    interval = Interval(**found)
    return f"{words(interval.mean)}\n[dim]{point_range(interval)}[/dim]"
