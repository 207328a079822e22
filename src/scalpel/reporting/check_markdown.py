"""A check as Markdown, for the description of a pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalpel.evaluation.ledger import Ledger
from scalpel.reporting import check_words as words
from scalpel.runs.visible import visible

SHOWN = 5  # lost items


def markdown(found: Mapping[str, Any], ledgers: Sequence[Ledger]) -> str:
    """The verdict, the table of abilities, and a few lost items."""
    head = f"| {' | '.join(words.HEAD)} |\n|{' --- |' * len(words.HEAD)}"
    table = "\n".join(f"| {' | '.join(escaped(cell) for cell in row)} |" for row in words.rows(found))
    parts = [f"### {escaped(words.headline(found))}", f"{head}\n{table}", words.drift(ledgers), lost(ledgers)]
    parts += ["\n".join(f"- {line}" for line in words.advice(found))]
    return "\n\n".join(part for part in parts if part) + "\n"


def lost(ledgers: Sequence[Ledger]) -> str:
    """The first lost items, folded."""
    found = [(ledger, entry) for ledger in ledgers for entry in ledger.of("lost")]
    if not found:
        return ""
    rows = "\n".join(
        f"| {escaped(ledger.probe)} | {escaped(entry.prompt)} | {escaped(entry.output_before)} "
        f"| {escaped(entry.output_after)} |"
        for ledger, entry in found[:SHOWN]
    )
    head = "| ability | asked | base | tuned |\n| --- | --- | --- | --- |"
    return f"<details><summary>{len(found)} items lost</summary>\n\n{head}\n{rows}\n\n</details>"


def escaped(text: str) -> str:
    """A text in a cell: one line, with what would be markup taken literally."""
    line = visible(" ".join(text.split()))
    cut = line if len(line) <= 160 else f"{line[:159]}…"
    for mark in "\\`*_{}[]<>|~#":
        cut = cut.replace(mark, f"\\{mark}")
    return cut
