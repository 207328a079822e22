"""The HTML report: one file that opens offline, with its figures, its style and the plotting library inside."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from scalpel.reporting import figures, sections
from scalpel.reporting.items import items
from scalpel.reporting.view import View, made_from, view
from scalpel.runs.atomic import write_text
from scalpel.runs.visible import visible


def write(folder: str | Path) -> Path:
    """Writes `report.html` into a run folder and returns its path."""
    path = Path(folder) / "report.html"
    with made_from(folder):
        text = page(view(folder))
    write_text(path, text)
    return path


def page(shown: View) -> str:
    """The whole page. Figures are embedded as JSON; page.js draws them in the reader's colours, light or dark."""
    drawn = Figures()
    parts = [
        section("Why", sections.verdict(shown)),
        section(*gain_and_forgetting(shown, drawn)),
        section("At the same skill", same_skill(shown)),
        section("The floor", floor(shown, drawn)),
        section("Along training", along(shown, drawn)),
        section("Loss, reward and rate by step", training(shown, drawn)),
        section("Where the weights moved", weights(shown, drawn)),
        section("Answers before and after", sections.recovered(shown) + items(shown)),
        section("Cost", sections.cost(shown)),
        section("To run it again", sections.again(shown)),
    ]
    what = "one run" if shown.alone else "1 arm" if len(shown.arms) == 1 else f"{len(shown.arms)} arms"
    title = f"{shown.name}: {what}"
    own = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><title>{escape(title)}</title><style>{asset("page.css")}</style>'
        f"<script>{asset('errors.js')}</script></head><body><main>"
        f"<header><p class=kicker>{escape(title)}</p>"
        f"<h1>{escape(shown.comparison['verdict']['headline'])}</h1></header>"
        f"{''.join(parts)}</main>"
        "<noscript><p class=note>The figures need JavaScript; the tables hold their numbers.</p></noscript>"
    )
    return (
        f'{visible(own)}<script type="application/json" id="figures">{drawn.json()}</script>'
        f"<script>{get_plotlyjs()}</script><script>{asset('page.js')}</script></body></html>\n"
    )


class Figures:
    """The figures of a page, by the id of their element."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def place(self, figure: go.Figure, label: str) -> str:
        """Adds a figure, and returns the HTML element in which it will be drawn."""
        id = f"figure-{len(self.found)}"
        self.found[id] = drawable(figure.to_plotly_json())
        height, label = figure.layout.height, escape(label)
        return f'<div class=figure id={id} role=img aria-label="{label}" style="min-height:{height}px"></div>'

    def json(self) -> str:
        """JSON for a script element. “<” is escaped, since a text with “</script>” would end the element."""
        return json.dumps(self.found, allow_nan=False).replace("<", "\\u003c")


def drawable(value: Any) -> Any:
    """A figure's data for JSON, which has no NaN or infinity: those become null, and plotly leaves a gap."""
    if isinstance(value, dict):
        return {key: drawable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [drawable(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def asset(name: str) -> str:
    return files("scalpel.reporting").joinpath(name).read_text(encoding="utf-8")


def section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def gain_and_forgetting(shown: View, drawn: Figures) -> tuple[str, str]:
    """Title and body of the main section: the scatter plot if gain and forgetting were measured, and the tables."""
    tables = f"{sections.arms(shown)}<h3>Every probe</h3>{sections.probes(shown)}"
    if not all(row["gain"] and row["forgetting"] for row in shown.rows):
        measured = any(row["gain"] or row["forgetting"] for row in shown.rows)
        return "What was measured", tables if measured else sections.probes(shown)
    picture = drawn.place(figures.scatter(shown), "Points gained on the target over the share of old abilities lost")
    caption = "Higher is more learnt, further left is less forgotten; bars are 95% intervals. "
    if len(shown.rows) > 1:
        caption += "An arm on the dotted line has the same net as the best one."
    return "Gain against forgetting", f"{picture}<p class=note>{caption}</p>{tables}"


def same_skill(shown: View) -> str:
    found = sections.matched(shown)
    return AT_SAME_SKILL + found if found else ""


def floor(shown: View, drawn: Figures) -> str:
    panels = figures.floors(shown)
    return sections.floors(shown) + (grid("panels", panels, drawn) if panels else "")


def along(shown: View, drawn: Figures) -> str:
    panels = figures.curves(shown)
    if not panels:
        return "<p class=note>No probe was evaluated during training.</p>"
    counts = {line.get("items") for arm in shown.arms for run in arm.runs for line in run.probes}
    most = counts.pop() if len(counts) == 1 else None
    note = (
        f"<p class=note>Every point is measured on the same items of a probe: its first {most} at most.</p>"
        if most
        else ""
    )
    return legend(shown) + grid("panels", panels, drawn) + note


def training(shown: View, drawn: Figures) -> str:
    """The panels of training metrics."""
    panels = figures.training(shown)
    if not panels:
        return "<p class=note>No step was recorded.</p>"
    note = "<p class=note>One point per step, from the batch of that step; the numbers are in metrics.jsonl.</p>"
    return legend(shown) + grid("panels", panels, drawn) + note


def legend(shown: View) -> str:
    return "" if shown.alone else sections.legend(shown)


def weights(shown: View, drawn: Figures) -> str:
    maps = figures.heat_maps(shown)
    if not maps:
        return "<p class=note>No weight change was recorded.</p>"
    wide = any(len(row["weights"]["layers"]) > 12 for row in shown.rows if row["weights"])
    over = "" if shown.alone else "mean over seeds, one colour scale for all arms; "
    note = f"Relative weight change ‖ΔW‖/‖W₀‖ in percent; {over}“rest” holds the weights that belong to no layer."
    return f"<p class=note>{note}</p>{grid('maps wide-maps' if wide else 'maps', maps, drawn)}"


def grid(kind: str, panels: list[tuple[str, go.Figure]], drawn: Figures) -> str:
    cells = "".join(f"<figure><figcaption>{escape(t)}</figcaption>{drawn.place(f, t)}</figure>" for t, f in panels)
    return f'<div class="{kind}">{cells}</div>'


AT_SAME_SKILL = (
    "<p class=note>A method that learnt less has also forgotten less. So arms are compared where each first reaches "
    "the same accuracy on the target, between two evaluations during training (which may use fewer items).</p>"
)
