"""Measures a pair of models: the same probes on the base and on the tuned one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scalpel.evaluation.ledger import Ledger, side_by_side, write
from scalpel.evaluation.probes import (
    Choose,
    Generate,
    ItemResult,
    Probe,
)
from scalpel.evaluation.recovery import recover, recovered
from scalpel.evaluation.unread_warnings import heed

if TYPE_CHECKING:
    from scalpel.engine import Engine

ProbeResults = dict[str, list[ItemResult]]  # what each probe saw, by its name


def run_probes(probes: Sequence[Probe], engine: Engine, reference: Engine) -> ProbeResults:
    """Every probe under one engine; `reference` is the base (the engine itself, for the base)."""
    names = [probe.name for probe in probes]
    if len(set(names)) < len(names):
        raise ValueError(f"two probes share a name in {names}; the ledger keeps one file a name, so rename one")
    seen = {probe.name: probe.run(engine, reference) for probe in probes}
    if engine is reference:
        for probe in probes:
            heed(probe, seen[probe.name])
    return seen


def measure(
    probes: Sequence[Probe],
    base: Engine,
    tuned: Engine,
    halfway: Engine | None = None,
    *,
    before: ProbeResults | None = None,
    k: int = 8,
    most: int = 100,
    seed: int = 0,
    tell: Callable[[str], None] = lambda words: None,
) -> list[Ledger]:
    """A ledger for each probe, its lost items tested for suppressed or erased.

    `before` is what `look(probes, base, base)` saw, so that many tuned models share one look at their base.
    """
    ledgers = []
    for probe in probes:
        tell(f"measuring {probe.name}")
        first = before[probe.name] if before is not None else probe.run(base, base)
        now = probe.run(tuned, base)
        heed(probe, first, now)
        book = side_by_side(probe, first, now)
        if isinstance(probe, Generate | Choose):
            book = recover(book, probe, tuned, halfway, k=k, most=most, seed=seed)
        ledgers.append(book)
    return ledgers


def save(folder: str | Path, ledgers: Sequence[Ledger]) -> None:
    """Writes the ledgers, their summaries and the share recovered under a run folder."""
    extra = {book.probe: {"recovery": recovered(book)} for book in ledgers}
    write(Path(folder), ledgers, extra)
