"""The forest picture: every claim's primary difference with its interval, in units of δ, the smallest that matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

Found = tuple[str, dict[str, Any]]  # a claim's name and its result
WIDTH, LEFT, RIGHT, TOP, LINE = 860, 250, 150, 46, 24
MOST = 6.0  # in units of δ, either way: what lies further out ends in an arrow
COLOURS = {
    "replicates": "#1a7f37", "contradicts": "#cf222e", "absent": "#0969da", "inconclusive": "#7d7d7d",
    "not in its regime": "#bf8700",
}  # fmt: skip


def at(x: float) -> float:
    """The horizontal place of a number in units of δ."""
    return LEFT + (max(-MOST, min(MOST, x)) + MOST) / (2 * MOST) * (WIDTH - LEFT - RIGHT)


def drawn(claims: Sequence[Found]) -> str:
    """The picture as SVG, for the claims whose primary comparison has an interval."""
    shown = [(name, found) for name, found in claims if "difference" in found["rows"][0]]
    height = TOP + LINE * len(shown) + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *axis(height),
        *(part for k, (name, found) in enumerate(shown) for part in row(k, name, found)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def axis(height: int) -> list[str]:
    ticks = [-6, -4, -2, -1, 0, 1, 2, 4, 6]
    title = "difference in units of the smallest that matters (shaded: less)"
    shade = '<rect x="{:.1f}" y="{}" width="{:.1f}" height="{}" fill="#eef1f4"/>'
    lines = [shade.format(at(-1), TOP - 8, at(1) - at(-1), height - TOP - 14), text(at(0), 18, title, "middle")]
    lines += [text(at(x), TOP - 13, str(x).replace("-", "−"), "middle", "#666666") for x in ticks]
    zero = '<line x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}" stroke="#999999"/>'
    return [*lines, zero.format(at(0), TOP - 8, height - 22)]


def row(k: int, name: str, found: dict[str, Any]) -> list[str]:
    """One claim: name, interval, point and verdict. An end that lies outside the picture is an arrow, a point outside
    a number."""
    first = found["rows"][0]
    mean, low, high = (first["difference"][key] / first["matters"] for key in ("mean", "low", "high"))
    y, colour = TOP + LINE * k + LINE // 2, COLOURS[found["verdict"]]
    parts = [
        text(LEFT - 12, y + 4, name, "end"),
        f'<line x1="{at(low):.1f}" x2="{at(high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>',
        *(arrow(at(x), y, 1 if x > 0 else -1, colour) for x in (low, high) if abs(x) > MOST),
        text(WIDTH - RIGHT + 14, y + 4, found["verdict"], "start", colour),
    ]
    if abs(mean) <= MOST:
        return [*parts, f'<circle cx="{at(mean):.1f}" cy="{y}" r="4" fill="{colour}"/>']
    away, anchor = (-8, "end") if mean > 0 else (8, "start")
    return [*parts, text(at(mean) + away, y - 4, f"{mean:.0f}".replace("-", "−"), anchor, colour)]


def arrow(x: float, y: float, way: int, colour: str) -> str:
    return f'<path d="M{x + 7 * way:.1f} {y} L{x:.1f} {y - 5} L{x:.1f} {y + 5} Z" fill="{colour}"/>'


def text(x: float, y: float, words: str, anchor: str, colour: str = "#24292f") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
