"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from scalpel.measure import Ledger


def plain(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], right: int | None = None) -> Table:
    """A quiet table; columns from `right` on are numbers. Names never wrap."""
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for k, heading in enumerate(headings):
        number = right is not None and k >= right
        table.add_column(heading, justify="right" if number else "left", no_wrap=k == 0)
    for row in rows:
        table.add_row(*row)
    return table


def methods_table(rows: Sequence[Sequence[str]]) -> Table:
    """A method and what it is: its title, its point on the axes, its paper."""
    found = []
    for name, title, signals, scope, anchor, rate, paper in rows:
        elsewhere = [f"scope {scope}"] * (scope != "all") + [f"anchor {anchor}"] * (anchor != "–")
        point = "; ".join([signals, *elsewhere, f"learning rate {rate}"])
        found.append((name, f"{title}\n[dim]{escape(point)}\n{escape(paper)}[/dim]"))
    return plain("", ("method", "source × credit × objective"), found)


def change_table(found: Mapping[str, Any]) -> Table:
    """Component × layer: how far the weights moved, relative to their size."""
    layers = [layer or "–" for layer in found["layers"]]
    rows = [
        (component, *(percent(value) for value in cells))
        for component, cells in zip(found["components"], found["relative"], strict=True)
    ]
    total = found["total"]
    title = (
        f"Change of the weights, ‖tuned − base‖ / ‖base‖ by component and layer: {percent(total['relative'])} in all, "
        f"{percent(total['moved'])} of the entries moved"
    )
    return plain(title, ["", *layers], rows, right=1)


def percent(share: float | None) -> str:
    """Three significant figures, so that small changes show."""
    return "" if share is None else "0" if share == 0 else f"{100 * share:.3g}%"


def ledger_table(books: Sequence[Ledger]) -> Table:
    """A line a probe: items gained, lost, kept and never known, with the test's verdict, and what came back."""
    headings = ("probe", "verdict", "before", "after", "gained", "lost", "kept", "never", "change of value", "back")
    return plain("", headings, [ledger_row(book) for book in books], right=2)


def ledger_row(book: Ledger) -> tuple[str, ...]:
    from scalpel.measure.ledger import summary
    from scalpel.measure.recovery import recovery

    found, came_back = summary(book), recovery(book)
    counts = [str(found.get(verdict, "")) for verdict in ("gained", "lost", "kept", "never")]
    shares = [f"{found[side]:.1%}" if side in found else "" for side in ("before", "after")]
    change = f"{found['value']['change']['mean']:+.3g}" if "value" in found else ""
    back = ""
    if came_back is not None:
        lost, control = came_back["lost"], came_back["control"]
        back = f"{lost['recovered']}/{lost['tested']} ({control['recovered']}/{control['tested']})"
    return book.probe, found.get("verdict", "measured"), *shares, *counts, change, back


LEDGER_LEGEND = (
    "gained: wrong → right, lost: right → wrong, item by item\n"
    "value: log p of the right answer, or KL to the base, in nats\n"
    "back: of the lost items tested, those that some push brings back (of those never known, for comparison)"
)
