"""A check as one HTML file that opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import chain, zip_longest
from typing import Any

from scalpel.evaluation.ledger import Ledger
from scalpel.reporting import check_words as words
from scalpel.reporting import items
from scalpel.reporting.page import asset, section
from scalpel.reporting.sections import table
from scalpel.runs.visible import visible

SHOWN = 40  # lost items


def check_page(found: Mapping[str, Any], ledgers: Sequence[Ledger]) -> str:
    """The verdict, the table of abilities with bars, lost items beside what both models said, and what to try."""
    title = f"check: {found['base']} → {found['tuned']}"
    parts = [
        section("Abilities", bars(found) + table(words.HEAD, words.rows(found)) + note(found)),
        section("Drift", paragraph(words.drift(ledgers))),
        section("What was lost", lost(ledgers)),
        section("What to try next", "".join(f"<li>{escape(line)}</li>" for line in words.advice(found))),
    ]
    return visible(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><title>{escape(title)}</title><style>{asset("page.css")}</style></head><body><main>'
        f"<header><p class=kicker>{escape(title)}</p><h1>{escape(words.headline(found))}</h1></header>"
        f"{''.join(parts)}</main></body></html>\n"
    )


def bars(found: Mapping[str, Any]) -> str:
    """Each ability's retention with its interval against the floor, as a drawing."""
    rows = [row for row in found["abilities"] if row["retention"]["mean"] is not None]
    rows.sort(key=lambda row: row["retention"]["mean"])
    height, left, width = 22 * len(rows) + 28, 150, 480
    lines = [
        f'<line x1="{left + width * found["floor"] / 1.2:.1f}" x2="{left + width * found["floor"] / 1.2:.1f}" y1="0" '
        f'y2="{height - 24}" stroke="currentColor" stroke-dasharray="3 3"/>'
    ]
    for k, row in enumerate(rows):
        y, interval = 22 * k + 12, row["retention"]
        low, mean, high = (
            left + width * min(1.2, 1.2 if interval[key] is None else interval[key]) / 1.2
            for key in ("low", "mean", "high")
        )
        lines.append(
            f'<text x="{left - 8}" y="{y + 4}" text-anchor="end" font-size="12" fill="currentColor">'
            f'{escape(row["name"])}</text><line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" '
            f'stroke="currentColor" stroke-width="2"/><circle cx="{mean:.1f}" cy="{y}" r="4" fill="currentColor"/>'
        )
    lines += [
        f'<text x="{left + width * x / 1.2:.1f}" y="{height - 6}" text-anchor="middle" font-size="11" '
        f'fill="currentColor">{x:.0%}</text>'
        for x in (0, 0.25, 0.5, 0.75, 1.0)
    ]
    label = "retention of each ability with its interval; the dashed line is the floor"
    return f'<svg viewBox="0 0 {left + width + 20} {height}" role=img aria-label="{label}">{"".join(lines)}</svg>'


def note(found: Mapping[str, Any]) -> str:
    return paragraph(
        f"Retention: right answers after / before, on the same items. The intervals hold together at "
        f"{found['confidence']:.0%}. The dashed line is the floor, {found['floor']:.0%}. Suite "
        f"{found['suite']['size']}, version {found['suite']['version']}.",
        "note",
    )


def paragraph(text: str, kind: str = "") -> str:
    return f"<p{f' class={kind}' if kind else ''}>{escape(text)}</p>" if text else ""


def lost(ledgers: Sequence[Ledger]) -> str:
    """Lost items of all abilities in turn, so that a large one doesn't hide the others."""
    found = [[(ledger, entry) for entry in ledger.of("lost")] for ledger in ledgers]
    mixed = [pair for pair in chain.from_iterable(zip_longest(*found)) if pair is not None]
    if not mixed:
        return ""
    rest = len(mixed) - SHOWN
    more = paragraph(f"and {rest} more, in the folder `ledger`", "note") if rest > 0 else ""
    rows = "".join(items.row(ledger, entry) for ledger, entry in mixed[:SHOWN])
    head = "<tr><th>item</th><th>base</th><th>tuned</th></tr>"
    return f"<div class=wide><table class=items><thead>{head}</thead><tbody>{rows}</tbody></table></div>{more}"
