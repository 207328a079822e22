"""The figures of the HTML report as plotly figures. The colours of axes and text are added by page.js, since they
depend on the reader's light or dark mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any

import plotly.graph_objects as go

from scalpel.evaluation.results import ArmResults
from scalpel.evaluation.statistics import Interval
from scalpel.reporting.labels import place
from scalpel.reporting.view import View
from scalpel.runs.visible import visible

# Colours of medium lightness, legible on white and on black; symbols tell arms apart without colour vision.
COLOURS = ("#3b82c4", "#d97b29", "#34976b", "#c2527a", "#8869c9", "#9b8424", "#2a9fae", "#b4553d")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down")
DASHES = ("solid", "dash", "dot", "dashdot")
WIDTH, HEIGHT = 865.0, 372.0  # pixels of the scatter plot within its axes, on a page of the usual width


def style(index: int) -> tuple[str, str, str]:
    """Colour, symbol and dash of the arm with that number."""
    again, symbol = index // len(COLOURS), SYMBOLS[index % len(SYMBOLS)]
    return COLOURS[index % len(COLOURS)], symbol + "-open" * (again % 2), DASHES[again % len(DASHES)]


def scatter(view: View) -> go.Figure:
    """A scatter plot of gain over forgetting, both with intervals. Up and to the left is better."""
    figure = go.Figure(layout=layout(height=430))
    rows = view.rows
    if len(rows) > 1:
        best = max(rows, key=lambda row: row["net"]["mean"])
        add_level_of_net(figure, best, view.comparison["price"], reach(rows))
    across = [0.0, 1.06 * reach(rows)]
    up = padded([0.0, *(100 * row["gain"][end] for row in rows for end in ("low", "high"))])
    sides = sides_of_names(rows, across, up)
    for index, row in enumerate(rows):
        gain, lost = 100 * Series(row["gain"]), 100 * Series(row["forgetting"])
        colour, symbol, _ = style(index)
        figure.add_scatter(
            x=[lost.mean],
            y=[gain.mean],
            error_x=lost.bars(colour),
            error_y=gain.bars(colour),
            mode="markers+text",
            marker={"color": colour, "symbol": symbol, "size": 13 if row["name"] == view.take else 10},
            text=[f"<b>{named(row)}</b>" if row["name"] == view.take else named(row)],
            textposition=sides[index],
            textfont={"color": colour, "size": 14},
            hovertemplate="gained %{y:.1f} points<br>lost %{x:.1f}% of what the base knew",
            name=named(row),
            cliponaxis=False,
        )
    figure.update_xaxes(title="forgotten: % of what the base knew", zeroline=True, range=across)
    figure.update_yaxes(title="gained on the target, points", zeroline=True, range=up)
    return figure


def named(row: Mapping[str, Any]) -> str:
    return escape(visible(row["name"]))


def sides_of_names(rows: Sequence[dict[str, Any]], across: Sequence[float], up: Sequence[float]) -> list[str]:
    """The side of its point on which each arm's name is written."""
    points = [
        (
            WIDTH * (100 * Series(row["forgetting"]).mean - across[0]) / (across[1] - across[0]),
            HEIGHT * (100 * Series(row["gain"]).mean - up[0]) / (up[1] - up[0]),
        )
        for row in rows
    ]
    return place(points, [row["name"] for row in rows], (WIDTH, HEIGHT))


def padded(values: Sequence[float]) -> list[float]:
    """The range of an axis that holds the values, with a margin for labels at the top."""
    low, high = min(values), max(values)
    margin = 0.12 * max(10.0, high - low)
    return [low - margin / 2, high + margin]


class Series:
    """An interval scaled for an axis."""

    def __init__(self, row: dict[str, float], scale: float = 1.0) -> None:
        self.mean, self.low, self.high = (scale * x for x in Interval(**row))

    def __rmul__(self, scale: float) -> Series:
        return Series({"mean": self.mean, "low": self.low, "high": self.high}, scale)

    def bars(self, colour: str) -> dict[str, Any]:
        return {
            "type": "data",
            "symmetric": False,
            "array": [self.high - self.mean],
            "arrayminus": [self.mean - self.low],
            "color": colour,
            "thickness": 1.2,
            "width": 4,
        }


def reach(rows: Sequence[dict[str, Any]]) -> float:
    """The greatest upper bound of forgetting, in percent; at least 10, so that noise near zero isn't magnified."""
    return max(10.0, *(100 * row["forgetting"]["high"] for row in rows))


def add_level_of_net(figure: go.Figure, best: dict[str, Any], price: float, right: float) -> None:
    """Adds the line of equal net: an arm on it is worth as much as the best one."""
    net = 100 * best["net"]["mean"]
    figure.add_scatter(
        x=[0, right],
        y=[net, net + price * right],
        mode="lines",
        line={"width": 1, "dash": "dot", "color": "#999999"},
        hovertemplate=f"the same net as {named(best)}<extra></extra>",
        name="level",
    )


def curves(view: View) -> list[tuple[str, go.Figure]]:
    """The learning curves: one (title, figure) per probe. A probe without an evaluation during training has none."""
    along = axis(view.arms)
    panels = []
    for probe, title, key, scale in panel_keys(view):
        figure = go.Figure(layout=layout(height=230))
        for index, arm in enumerate(view.arms):
            add_runs(figure, arm, style(index), along, f"probe/{probe}/{key}", scale)
        if figure.data:
            figure.update_xaxes(title={"flops": "FLOPs", "step": "step"}[along], rangemode="tozero", nticks=5)
            figure.update_yaxes(rangemode="tozero" if key != "value" else "normal", nticks=5)
            panels.append((title, figure))
    return panels


def panel_keys(view: View) -> list[tuple[str, str, str, float]]:
    """(probe, title, metric, scale) of each panel: accuracy of targets, kept share of old abilities, value of
    others."""
    targets, abilities = view.comparison["targets"], view.comparison["abilities"]
    rest = [t for t in view.arms[0].tables.values() if t.probe not in (*targets, *abilities) and not t.judged]
    return [
        *((probe, f"{probe}: right, %", "accuracy", 100.0) for probe in targets),
        *((probe, f"{probe}: kept, %", "kept", 100.0) for probe in abilities),
        *((t.probe, f"{t.probe}: {t.unit}", "value", 1.0) for t in rest),
    ]


def axis(arms: Sequence[ArmResults]) -> str:
    """The key of the horizontal axis: FLOPs if every evaluation recorded them, else steps."""
    lines = [line for arm in arms for run in arm.runs for line in run.probes]
    return "flops" if lines and all("flops" in line for line in lines) else "step"


def add_runs(
    figure: go.Figure,
    arm: ArmResults,
    drawn_as: tuple[str, str, str],
    along: str,
    key: str,
    scale: float,
    along_training: bool = False,
) -> None:
    """Adds one line per seed of an arm: of a probe's metric, or with `along_training` of a metric of training steps."""
    colour, symbol, dash = drawn_as
    for run in arm.runs:
        records = run.train if along_training else run.probes
        lines = sorted((line for line in records if finite(line.get(key))), key=lambda line: line["step"])
        if lines:
            figure.add_scatter(
                x=[line[along] for line in lines],
                y=[scale * line[key] for line in lines],
                mode="lines" if along_training else "lines+markers",
                line={"color": colour, "width": 1.6, "dash": dash},
                marker={"color": colour, "symbol": symbol, "size": 5},
                name=escape(visible(arm.name)),
                hovertemplate=f"{escape(visible(arm.name))}, seed {run.seed}: %{{y:.3g}}<extra></extra>",
            )


def finite(value: Any) -> bool:
    """Whether a value of a record can be drawn: a loss may be NaN, and a reward may be missing."""
    return isinstance(value, int | float) and isfinite(value)


TRAINING = (
    ("loss", "loss", 1.0),
    ("reward", "reward", 1.0),
    ("learning rate", "learning_rate", 1.0),
    ("gradient norm", "gradient_norm", 1.0),
    ("samples unread, %", "samples/unread", 100.0),
    ("samples cut off, %", "samples/cut_off", 100.0),
)


def training(view: View) -> list[tuple[str, go.Figure]]:
    """Panels of training metrics by step: loss, reward if there is one, learning rate, gradient norm, and the shares of
    unread and cut-off samples if there are any."""
    panels = []
    for title, key, scale in TRAINING:
        figure = go.Figure(layout=layout(height=230))
        for index, arm in enumerate(view.arms):
            add_runs(figure, arm, style(index), "step", key, scale, along_training=True)
        if figure.data and (not key.startswith("samples/") or any(any(line.y) for line in figure.data)):
            figure.update_xaxes(title="step", rangemode="tozero", nticks=5)
            figure.update_yaxes(nticks=5, exponentformat="e")
            panels.append((title, figure))
    return panels


def floors(view: View) -> list[tuple[str, go.Figure]]:
    """Panels of the retention floor: the retained share of the worst ability, and the strength of the regulariser, at
    each evaluation of the keep sets."""
    panels = []
    for title, key, scale in (("lowest retention, %", "keep/worst", 100.0), ("strength λ", "keep/strength", 1.0)):
        figure = go.Figure(layout=layout(height=230))
        for index, arm in enumerate(view.arms):
            add_runs(figure, arm, style(index), "step", key, scale, along_training=True)
        if figure.data:
            figure.update_xaxes(title="step", rangemode="tozero", nticks=5)
            figure.update_yaxes(nticks=5)
            panels.append((title, figure))
    for height in {row["floor"]["floor"] for row in view.rows if row.get("floor")} if panels else ():
        panels[0][1].add_hline(y=100 * height, line={"width": 1, "dash": "dot", "color": "#999999"})
    return panels


def heat_maps(view: View) -> list[tuple[str, go.Figure]]:
    """The weight change of each arm by component and layer, on one colour scale for all arms."""
    found = [(row["name"], row["weights"]) for row in view.rows if row["weights"]]
    cells = [cell for _, table in found for line in table["relative"] for cell in line if cell is not None]
    top = 100 * max(cells, default=0.0) or 1.0
    return [(name, heat_map(table, top)) for name, table in found]


def heat_map(table: dict[str, Any], top: float) -> go.Figure:
    """A heat map of ‖ΔW‖/‖W₀‖ in percent, with components from input (top) to output (bottom)."""
    layers = [layer or "rest" for layer in table["layers"]]
    narrow = len(layers) <= 12
    figure = go.Figure(layout=layout(height=70 + 26 * len(table["components"])))
    figure.add_heatmap(
        x=layers,
        y=table["components"],
        z=[[None if cell is None else 100 * cell for cell in line] for line in table["relative"]],
        zmin=0,
        zmax=top,
        xgap=2,
        ygap=2,
        showscale=not narrow,
        colorbar={"ticksuffix": "%", "thickness": 10, "outlinewidth": 0},
        text=[["" if cell is None else in_percent(cell) for cell in line] for line in table["relative"]],
        texttemplate="%{text}" if narrow else None,
        textfont={"size": 11},
        hovertemplate="%{y}, layer %{x}: %{z:.3g}%<extra></extra>",
        hoverongaps=False,
    )
    figure.update_xaxes(type="category", title="layer", showgrid=False, tickangle=0)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return figure


def in_percent(share: float) -> str:
    """A percentage with two significant digits, without an exponent where it is 100 or more."""
    return f"{100 * share:.2g}" if share < 0.995 else f"{100 * share:.0f}"


def layout(height: int) -> go.Layout:
    return go.Layout(
        height=height,
        margin={"l": 10, "r": 24, "t": 12, "b": 10},
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        template="none",
        hovermode="closest",
        xaxis={"automargin": True},
        yaxis={"automargin": True},
    )
