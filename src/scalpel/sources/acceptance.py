"""Which samples of a prompt are accepted: by their reward, without duplicates."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Literal

import numpy as np
from regex import Match

from scalpel.binding.patterns import every
from scalpel.data.trajectory import Trajectory
from scalpel.rewards.scored import total
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import Judged

Order = Literal["first", "best", "apart"]


def edits(a: Sequence[int], b: Sequence[int]) -> int:
    """The Levenshtein distance of two token sequences: the fewest insertions, deletions and replacements."""
    # One row of the dynamic programme at a time; insertions chain along a row, which is a running minimum in NumPy.
    other, place = np.asarray(b), np.arange(len(b) + 1)
    row = place
    for i, token in enumerate(a):
        above = np.minimum(row[1:] + 1, row[:-1] + (other != token))
        row = np.minimum.accumulate(np.append(i + 1, above) - place) + place
    return int(row[-1])


def marks(key: str, text: Callable[[Sequence[int]], str], found: Judged) -> list[Hashable]:
    """The keys by which samples are duplicates: all matches of `key` in their texts; the texts, also on a timeout."""
    texts = ["\n".join(text(segment.ids) for segment in sample.policy) for sample, _ in found]
    try:
        matches = [every(key, words) if key else None for words in texts]
    except ValueError as error:
        raise ValueError(f"'key', which tells what is a duplicate: {error}") from None
    return [words if m is None else tuple(map(read, m)) for words, m in zip(texts, matches, strict=True)]


def read(match: Match[str]) -> tuple[str, ...]:
    """The groups of a match, or the whole match if it has no groups."""
    return match.groups("") or (match[0],)


def total_distance(one: Trajectory, others: Iterable[Trajectory]) -> int:
    return sum(edits(one.ids, other.ids) for other in others)


def without_duplicates(found: Judged, mark: Sequence[Hashable], keep: int, order: Order) -> Judged:
    """One sample for each mark, at most `keep` in all, selected by `order`."""
    pairs = list(zip(mark, found, strict=True))
    if order == "best":
        pairs.sort(key=lambda pair: -total(pair[1][1]))
    kept: dict[Hashable, tuple[Trajectory, list[float]]] = {}
    for m, new in pairs:
        held = kept.setdefault(m, new)
        if order == "apart" and held is not new:
            others = [other for k, (other, _) in kept.items() if k != m]
            kept[m] = max(held, new, key=lambda one: total_distance(one[0], others))
    return list(kept.values())[:keep]


def accepted(
    context: SourceContext, samples: Judged, threshold: float, keep: int, dedupe: bool, key: str, order: Order
) -> Judged:
    """Those of a prompt's samples that are kept."""
    right = [(s, rewards) for s, rewards in samples if s.finished and total(rewards) >= threshold]
    mark = marks(key, context.tokens.text, right) if dedupe else range(len(right))
    return without_duplicates(right, mark, keep, order)
