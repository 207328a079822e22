"""Is a lost item suppressed or erased? Suppressed: some push brings it back. Erased: none did.

Three pushes, each of which leaves the knowledge as it is and changes only the way to it:
  within k   any of k samples at temperature 1 is right
  halfway    right at the weights ½ (base + tuned)
  conjugate  right when asked in another form, such as the second language

Guessable items come back by chance. So the same pushes are given to items that the base never knew,
and the report shows both shares; only what lost items have beyond that control speaks of memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from scalpel.data.example import Example
from scalpel.evaluation.ledger import Entry, Ledger
from scalpel.evaluation.probes.choose import Choose
from scalpel.evaluation.probes.generate import Generate
from scalpel.evaluation.statistics import fisher, wilson

if TYPE_CHECKING:
    from scalpel.engine import Engine

Conjugate = Callable[[Example], tuple[Example, Callable[[str], str]] | None]
PUSHES = ("within_k", "halfway", "conjugate")


def recover(
    book: Ledger,
    probe: Generate | Choose,
    tuned: Engine,
    halfway: Engine | None = None,
    *,
    k: int = 8,
    most: int = 100,
    seed: int = 0,
) -> Ledger:
    """The ledger with its lost items, and as many that the base never knew, put to the tests.

    `halfway` holds the weights ½ (base + tuned). At most `most` items of each sort are tested, drawn
    by the seed; a probe that chooses by log-probability has only the halfway test.
    """
    if k < 1:
        raise ValueError(f"k = {k} samples; the test within k samples needs at least 1")
    chosen = pick(book.of("lost"), most, seed) | pick(book.of("never"), most, seed)
    if not chosen:
        return book
    some = probe.only(chosen)
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
        for entry in book.entries
    )
    return replace(book, entries=entries, k=k if flags["within_k"] else None)


def pick(entries: list[Entry], most: int, seed: int) -> set[str]:
    drawn = entries if len(entries) <= most else Random(seed).sample(entries, most)
    return {entry.id for entry in drawn}


def under_conjugate(probe: Generate, tuned: Engine) -> dict[str, bool]:
    """Whether each item is right when asked in its conjugate form, where its task offers one.

    A task offers it as `conjugate(example) → (example in the other form, decode)`, or None for an
    item without; `decode` turns the answer back, so that the item's own verifier can judge it.
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


def recovered(book: Ledger) -> dict[str, Any] | None:
    """Shares recovered of the lost and of the never known, ready for JSON; None where none was tested."""
    lost, control = tally(book.of("lost")), tally(book.of("never"))
    if not lost["tested"]:
        return None
    p = fisher(lost["recovered"], lost["tested"], control["recovered"], control["tested"])
    return {"k": book.k, "lost": lost, "control": control, "p": p}


def tally(entries: list[Entry]) -> dict[str, Any]:
    """How many came back, under any push and under each."""
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
