"""Measures a pair of models: runs the same probes on the base and on the tuned model."""

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
from scalpel.evaluation.unread_warnings import warn_of_unread

if TYPE_CHECKING:
    from scalpel.engine import Engine

ProbeResults = dict[str, list[ItemResult]]  # the results of each probe, by its name


def run_probes(probes: Sequence[Probe], engine: Engine, reference: Engine) -> ProbeResults:
    """The results of every probe on one model. `reference` is the base; for the base itself it is the same engine.
    Raises ValueError if two probes share a name."""
    names = [probe.name for probe in probes]
    if len(set(names)) < len(names):
        raise ValueError(f"two probes share a name in {names}; the ledger keeps one file a name, so rename one")
    seen = {probe.name: probe.run(engine, reference) for probe in probes}
    if engine is reference:
        for probe in probes:
            warn_of_unread(probe, seen[probe.name])
    return seen


def measure(
    probes: Sequence[Probe],
    base: Engine,
    tuned: Engine,
    halfway: Engine | None = None,
    *,
    before: ProbeResults | None = None,
    k: int = 8,
    max_items: int = 100,
    seed: int = 0,
    tell: Callable[[str], None] = lambda words: None,
) -> list[Ledger]:
    """One ledger per probe, with the recovery tests of its lost items.

    `before` holds the results of `run_probes(probes, base, base)`, so that many tuned models share one evaluation of
    their base. `halfway`, `k`, `max_items` and `seed` are those of `recover`.
    """
    ledgers = []
    for probe in probes:
        tell(f"measuring {probe.name}")
        first = before[probe.name] if before is not None else probe.run(base, base)
        now = probe.run(tuned, base)
        warn_of_unread(probe, first, now)
        ledger = side_by_side(probe, first, now)
        if isinstance(probe, Generate | Choose):
            ledger = recover(ledger, probe, tuned, halfway, k=k, max_items=max_items, seed=seed)
        ledgers.append(ledger)
    return ledgers


def save(folder: str | Path, ledgers: Sequence[Ledger]) -> None:
    """Writes the ledgers, with their summaries and recovered shares, into a run folder."""
    extra = {ledger.probe: {"recovery": recovered(ledger)} for ledger in ledgers}
    write(Path(folder), ledgers, extra)
