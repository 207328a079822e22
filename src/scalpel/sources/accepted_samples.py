"""Rejection sampling: own samples whose reward reaches a threshold."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Literal

import numpy as np
from regex import Match

from scalpel.batch import Batch, lay
from scalpel.binding.bounds import Few, Pattern, Unbounded
from scalpel.binding.patterns import every
from scalpel.data.trajectory import Trajectory
from scalpel.part import part
from scalpel.rewards.scored import total
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import Judged, judged, trajectory_rows, within, writers

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
        raise ValueError(f"'key' of source 'accepted-samples': {error}") from None
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


@part("source", "accepted-samples", gives=frozenset({"reward"}), asks=writers(), plays=True)
def accepted_samples(
    context: SourceContext,
    *,
    size: Few = 8,
    threshold: Unbounded = 1.0,
    keep: Few = 4,
    dedupe: bool = True,
    key: Pattern = "",
    order: Order = "first",
    writer: str = "policy",
) -> Batch:
    """Samples `size` completions a prompt and keeps those with a reward of `threshold` or more, deduplicated.

    A sample that was cut off at the length limit is never kept: it would train the model not to stop. `keep` bounds the
    number a prompt, and so the weight of easy prompts. Duplicates have equal texts, or equal lists of matches of the
    expression `key` (for example their equations); without `dedupe` none are removed. `order` selects the "first" ones,
    the "best" by reward, or, among duplicates, the one that is farthest "apart" from all others kept, in edits.
    `writer` is the policy or another role: "previous", the model that the stage before left; "reference"; or [models].

    Reads    prompts; the reward functions.
    Limits   threshold −∞, without dedupe and cap: self-imitation; with keep 1 and "best": best of n. With `nll` it is
             one step of expert iteration.
    Fails    a writer that never succeeds: the batch is empty and no parameter changes; `tokens_trained_share` is
             missing from the log.
    Source   Yuan et al. 2023 (arXiv 2308.01825), section 3.3; cap as in Singh et al. 2023 (arXiv 2312.06585).
    """
    within("accepted-samples", 1, size=size, keep=keep)
    rows = []
    _, found = judged(context, size, writer)
    for group, (example, samples) in enumerate(zip(context.examples, found, strict=True)):
        right = [(s, rewards) for s, rewards in samples if s.finished and total(rewards) >= threshold]
        mark = marks(key, context.tokens.text, right) if dedupe else range(len(right))
        for trajectory, rewards in without_duplicates(right, mark, keep, order):
            rows += trajectory_rows(trajectory, example, group, rewards)
    return lay(rows)
