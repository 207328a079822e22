"""What an interval lacks that doesn't tell: items, seeds, or both."""

from __future__ import annotations

from math import sqrt

from scalpel.evaluation.crossed import Estimate
from scalpel.evaluation.ledger import ALIKE
from scalpel.evaluation.statistics import CONFIDENCE


def lacking(found: Estimate, confidence: float = CONFIDENCE) -> str:
    """`items`, `seeds` or `seeds and items`: of which there are too few to tell the mean from zero at this confidence,
    or to tell at 95% that it lies within 5 points.

    It is what would tell alone if there were any number of it and mean and variances stayed as they are; of two that
    would, that with the larger part in the interval; and both where neither would.
    """
    with_seeds = told(found, confidence, seeds=0.0)
    with_items = told(found, confidence, items=0.0)
    if with_seeds == with_items:
        if not with_seeds:
            return "seeds and items"
        with_seeds = seeds_half(found, confidence) > items_half(found, confidence)
    return "seeds" if with_seeds else "items"


def told(found: Estimate, confidence: float, *, seeds: float = 1.0, items: float = 1.0) -> bool:
    """Whether the interval would tell with so much of the part of seeds and of the part of items in its width."""

    def half(confidence: float) -> float:
        return sqrt((seeds * seeds_half(found, confidence)) ** 2 + (items * items_half(found, confidence)) ** 2)

    return abs(found.mean) > half(confidence) or abs(found.mean) + half(CONFIDENCE) <= ALIKE


def seeds_half(found: Estimate, confidence: float) -> float:
    component = found.seed_component()
    return component.half(confidence) if component else 0.0


def items_half(found: Estimate, confidence: float) -> float:
    return sqrt(sum(component.half(confidence) ** 2 for component in found.item_components()))
