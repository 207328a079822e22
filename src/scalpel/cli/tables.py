"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from scalpel.claims import Claim
    from scalpel.evaluation import Ledger


def plain(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], right: int | None = None) -> Table:
    """A table with few lines. Columns from index `right` on are numbers, and right-aligned; the first one never
    wraps."""
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for k, heading in enumerate(headings):
        number = right is not None and k >= right
        table.add_column(heading, justify="right" if number else "left", no_wrap=k == 0)
    for row in rows:
        table.add_row(*row)
    return table


def methods_table(rows: Sequence[Sequence[str]]) -> Table:
    """One row per method: its title, its point on the axes and its paper."""
    found = []
    for name, title, signals, scope, anchor, settings, paper, evidence in rows:
        elsewhere = [f"scope {scope}"] * (scope != "all") + [f"anchor {anchor}"] * (anchor != "–")
        point = "; ".join([signals, *elsewhere, settings])
        found.append(
            (name, f"{title}\n[dim]{escape(point)}\n{escape(paper)}\n{escape(evidence.replace('`', ''))}[/dim]")
        )
    return plain("", ("method", "source × credit × objective"), found)


def outside_table(rows: Sequence[Sequence[str]]) -> Table:
    """What plugins and files have registered, with its origin."""
    return plain("parts from outside the package", ("part", "from", "effect"), [tuple(map(escape, r)) for r in rows])


def change_table(found: Mapping[str, Any]) -> Table:
    """The relative weight change ‖ΔW‖/‖W₀‖ by component and layer."""
    layers = [layer or "–" for layer in found["layers"]]
    rows = [
        (escape(component), *(percent(value) for value in cells))
        for component, cells in zip(found["components"], found["relative"], strict=True)
    ]
    return plain("", ["", *layers], rows, right=1)


def change_in_words(found: Mapping[str, Any]) -> str:
    """The sentence above the table of weight changes."""
    total = found["total"]
    return (
        f"‖tuned − base‖ / ‖base‖ is {percent(total['relative'])} over all weights; {percent(total['moved'])} of their "
        "entries changed. By component and layer:"
    )


def percent(share: float | None) -> str:
    """A percentage with three significant digits: weight changes are often far below 1%."""
    return "" if share is None else "0" if share == 0 else f"{100 * share:.3g}%"


def check_table(found: Mapping[str, Any]) -> Table:
    """One row per ability of a check, the lost ones first."""
    from scalpel.reporting import check_words

    return plain("", check_words.HEAD, check_words.rows(found), right=1)


def ledger_table(ledgers: Sequence[Ledger]) -> Table:
    """One row per probe: items gained, lost, kept and never known, recovered items, and the verdict of the test.
    Columns on unread and cut-off answers appear only where there are any."""
    from scalpel.evaluation.ledger import judged_probes

    headings: tuple[str, ...] = ("probe", "right", "gained", "lost", "kept", "never", "back", "Δ value", "verdict")
    rows = [ledger_row(ledger, judged_probes(ledgers)) for ledger in ledgers]
    for heading, what in (("unread", "unread"), ("cut off", "cut_off")):
        cells = [before_and_after(ledger, what) for ledger in ledgers]
        if any(cells):
            headings = (*headings[:-1], heading, headings[-1])
            rows = [(*row[:-1], cell, row[-1]) for row, cell in zip(rows, cells, strict=True)]
    table = plain("", headings, rows, right=1)
    for column in table.columns[:-1]:
        column.no_wrap = True
    table.columns[-1].justify = "left"
    return table


def before_and_after(ledger: Ledger, what: str) -> str:
    """The shares of a probe's answers that are `unread` or `cut_off`, before and after; empty where both are zero."""
    from scalpel.evaluation import summary

    shares = summary(ledger).get(what, {})
    return f"{shares['before']:.0%} → {shares['after']:.0%}" if any(shares.values()) else ""


def ledger_row(ledger: Ledger, probes: int) -> tuple[str, ...]:
    from scalpel.evaluation import recovered, summary

    found, came_back = summary(ledger, probes), recovered(ledger)
    counts = [str(found.get(verdict, "")) for verdict in ("gained", "lost", "kept", "never")]
    right = f"{found['before']:.0%} → {found['after']:.0%}" if "before" in found else ""
    change = f"{found['value']['change']['mean']:+.2g}" if "value" in found else ""
    back = ""
    if came_back is not None:
        lost, control = came_back["lost"], came_back["control"]
        back = f"{lost['recovered']}/{lost['tested']} ({control['recovered']}/{control['tested']})"
    return escape(ledger.probe), right, *counts, back, change, found.get("verdict", "measured")


def claims_table(claims: Sequence[Claim]) -> Table:
    """One row per claim: what it says, the verdict and the seeds so far."""
    from scalpel.claims.page import seeds_of, verdict_of
    from scalpel.claims.result import result_of

    rows = []
    for claim in claims:
        found = result_of(claim)
        said = f"{escape(claim.statement.title)}\n[dim]{escape(claim.statement.paper)}[/dim]"
        rows.append((claim.id, said, verdict_of(claim, found), seeds_of(found)))
    return plain("", ("claim", "what it says", "verdict", "seeds"), rows)


def comparisons_table(found: Mapping[str, Any]) -> Table:
    """One row per comparison of a claim: the difference, the smallest that matters and the outcome."""
    from scalpel.claims.words import HEADINGS, row_words

    rows = [tuple(map(escape, row_words(row))) for row in found["rows"]]
    return plain("", HEADINGS, rows)


def verdict_words(found: Mapping[str, Any]) -> str:
    """`Replicates, after 4 seeds.`"""
    from scalpel.claims.words import verdict_words

    return verdict_words(found)


LEDGER_LEGEND = (
    "gained: wrong → right, lost: right → wrong, item by item\n"
    "back: lost items that a recovery test brought back / tested (the same for items never known, as a control)\n"
    "unread: outputs in which the verifier found no answer; cut off: outputs that max_tokens ended\n"
    "Δ value: change in the log p of the right answer, or in the KL to the base, in nats"
)
