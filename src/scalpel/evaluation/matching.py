"""Pairs each lost item with one that the base never knew and that is as hard to guess: the control of recovery tests.

    a pair    items of one probe whose answers differ in length by less than a tenth, and whose right answers have
              log-probabilities under the base that differ by at most half a nat, where the probe records them

The pairs are as many as possible, and of those the ones whose log-probabilities are closest in sum. An item that the
base knew has a likelier answer than most that it didn't, so many lost items have no pair: items that are likely enough
and yet wrong are rare. The limit is as narrow as it has to be. Where difficulty alone decides what is guessed, controls
that are drawn at random make guessable items "suppressed" nearly always, those within one nat in up to 65% of simulated
comparisons, and those within half a nat in 2 to 5%.

Source: matching within a caliper (Cochran & Rubin 1973, Sankhyā A 35, 417), by optimal assignment (Rosenbaum 1989,
J. Am. Stat. Assoc. 84, 1024).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from scalpel.evaluation.ledger import Entry, Ledger

NATS = 0.5
LENGTH = 0.1  # of the longer answer: below ten characters answers must be of the same length
FEWEST = 5  # pairs on which a verdict may rest
Pair = tuple[Entry, Entry]  # the lost item, and the one that was never known


def matched(lost: Sequence[Entry], never: Sequence[Entry]) -> list[Pair]:
    """The pairs among items of one probe. Which of several equally good ones is made doesn't depend on the order in
    which the items stand."""
    if not lost or not never:
        return []
    lost, never = (Random(0).sample(side, len(side)) for side in (lost, never))
    gap_LN = np.array([[gap(one, other) for other in never] for one in lost])
    # a pair that may not be costs more than all that may, so that as many as possible are made
    dear = 1.0 + NATS * min(gap_LN.shape)
    rows, columns = linear_sum_assignment(np.where(np.isfinite(gap_LN), gap_LN, dear))
    return [(lost[i], never[j]) for i, j in zip(rows, columns, strict=True) if np.isfinite(gap_LN[i, j])]


def gap(one: Entry, other: Entry) -> float:
    """How far two items are apart in the log-probability of the right answer; infinite where they are no pair."""
    lengths = sorted((len(one.answer), len(other.answer)))
    if lengths[1] - lengths[0] >= max(1.0, LENGTH * lengths[1]):
        return float("inf")
    if one.logp_before is None or other.logp_before is None:
        return 0.0 if one.logp_before is other.logp_before else float("inf")
    nats = abs(one.logp_before - other.logp_before)
    return nats if nats <= NATS else float("inf")


def pairs_of(ledger: Ledger) -> list[Pair]:
    """The pairs among the items that were put to the recovery tests."""
    return matched(*([e for e in ledger.of(v) if e.recovered is not None] for v in ("lost", "never")))


def enough(pairs: int, tested: int) -> bool:
    """Whether a verdict may be given: where most of the lost items have no match, the others don't speak for them."""
    return pairs >= max(FEWEST, tested / 2)


def about(pairs: Sequence[Pair]) -> dict[str, Any]:
    """The pairs as a table for JSON: how many, how many came back of each side, and what they were matched on."""
    scored = [
        (a.logp_before, b.logp_before) for a, b in pairs if a.logp_before is not None and b.logp_before is not None
    ]
    on = ["probe", "length of the answer"] + ["log p of the right answer under the base"] * bool(scored)
    found: dict[str, Any] = {"pairs": len(pairs), "on": on}
    found |= {side: sum(bool(pair[k].recovered) for pair in pairs) for k, side in enumerate(("lost", "control"))}
    if scored:
        lost, control = np.mean(np.asarray(scored, dtype=float), axis=0)
        found["logp"] = {"lost": float(lost), "control": float(control)}
    return found
