"""Recovery tests: is a lost item suppressed (some test recovers it) or erased (none does)?

Each of the three tests leaves the knowledge in the weights as it is and changes only how it is reached:
  within k   any of k samples at temperature 1 is right
  halfway    the greedy answer is right at the weights ½ (base + tuned)
  conjugate  the greedy answer is right when the item is asked in another form, such as the second language

Items that can be guessed are recovered by chance. So the same tests are given to items that the base never knew, as
many as there are lost ones and each as hard to guess as one of them (`matching.py`). Only the excess of the lost items
over this control is evidence of suppression; where too few lost items have a match there is no verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from scalpel.data.example import Example
from scalpel.evaluation.ledger import Entry, Ledger
from scalpel.evaluation.matching import about, enough, matched, pairs_of
from scalpel.evaluation.probes.choose import Choose
from scalpel.evaluation.probes.generate import Generate
from scalpel.evaluation.statistics import excess, wilson

if TYPE_CHECKING:
    from scalpel.engine import Engine

Conjugate = Callable[[Example], tuple[Example, Callable[[str], str]] | None]
PUSHES = ("within_k", "halfway", "conjugate")


def recover(
    ledger: Ledger,
    probe: Generate | Choose,
    tuned: Engine,
    halfway: Engine | None = None,
    *,
    k: int = 8,
    max_items: int = 100,
    seed: int = 0,
) -> Ledger:
    """The ledger with the recovery tests of its lost items and of items that the base never knew.

    `halfway` holds the weights ½ (base + tuned). At most `max_items` lost items are tested, drawn by the seed, and of
    the never-known ones those that match them. A probe that chooses by log-probability has only the halfway test.
    Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"k = {k} samples; the test within k samples needs at least 1")
    lost = pick(ledger.of("lost"), max_items, seed)
    if not lost:
        return ledger
    control = [never for _, never in matched(lost, ledger.of("never"))]
    some = probe.only({entry.id for entry in (*lost, *control)})
    flags: dict[str, dict[str, bool]] = {push: {} for push in PUSHES}
    if isinstance(some, Generate):
        flags["within_k"] = some.tries(tuned, k=k, seed=seed)
        flags["conjugate"] = under_conjugate(some, tuned)
    if halfway is not None:
        flags["halfway"] = {result.id: bool(result.right) for result in some.run(halfway)}
    entries = tuple(
        replace(
            entry,
            recovered_within_k=flags["within_k"].get(entry.id),
            recovered_halfway=flags["halfway"].get(entry.id),
            recovered_conjugate=flags["conjugate"].get(entry.id),
        )
        for entry in ledger.entries
    )
    return replace(ledger, entries=entries, k=k if flags["within_k"] else None)


def pick(entries: list[Entry], max_items: int, seed: int) -> list[Entry]:
    return entries if len(entries) <= max_items else Random(seed).sample(entries, max_items)


def under_conjugate(probe: Generate, tuned: Engine) -> dict[str, bool]:
    """Whether each item is right when it is asked in its conjugate form; empty where the task has no such form.

    A task has a method `conjugate(example) → (example in the other form, decode)`, or None for an item without one;
    `decode` translates the answer back, so that the item's own verifier can judge it.
    """
    conjugate: Conjugate | None = getattr(probe.task, "conjugate", None)
    if conjugate is None:
        return {}
    asked = [(example, other) for example in probe.items() if (other := conjugate(example)) is not None]
    outputs = probe.answers(tuned, [other for _, (other, _) in asked])
    return {
        example.id: probe.task.score(decode(output.text), example) >= 1.0
        for (example, (_, decode)), output in zip(asked, outputs, strict=True)
    }


def recovered(ledger: Ledger) -> dict[str, Any] | None:
    """The recovered shares of lost and of never-known items as a table for JSON; None where no lost item was tested.

    The test is one-sided: it asks whether lost items are recovered more often than guessing explains. It permutes the
    items of the pairs; its p-value is None where there are too few of them for a verdict.
    """
    lost, control = tally(ledger.of("lost")), tally(ledger.of("never"))
    if not lost["tested"]:
        return None
    pairs = pairs_of(ledger)
    back = [[float(bool(pair[side].recovered)) for pair in pairs] for side in (0, 1)]
    p = excess([(back[0], back[1])]) if enough(len(pairs), lost["tested"]) else None
    return {"k": ledger.k, "lost": lost, "control": control, "matched": about(pairs), "p": p}


def tally(entries: list[Entry]) -> dict[str, Any]:
    """How many items were tested and how many recovered, over all tests and for each."""
    tested = [entry for entry in entries if entry.recovered is not None]
    back = sum(bool(entry.recovered) for entry in tested)
    found: dict[str, Any] = {"tested": len(tested), "recovered": back}
    if tested:
        found["share"] = wilson(back, len(tested))._asdict()
    for push in PUSHES:
        flags = [flag for entry in tested if (flag := getattr(entry, f"recovered_{push}")) is not None]
        if flags:
            found[push] = {"tested": len(flags), "recovered": sum(flags)}
    return found


def fate(entry: Entry) -> str | None:
    """`suppressed` or `erased` for a lost item that was tested; None for every other."""
    if entry.verdict != "lost" or entry.recovered is None:
        return None
    return "suppressed" if entry.recovered else "erased"
