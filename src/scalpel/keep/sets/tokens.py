"""Long texts, token by token: what the base gives at least the probability `sure` must stay the first choice."""

from __future__ import annotations

from collections.abc import Collection, Hashable

from scalpel.binding.bounds import Count, Seed, Share
from scalpel.data.example import Task
from scalpel.data.tokenizer import Tokens
from scalpel.keep.sets.ability import examples_of
from scalpel.keep.sets.answers import Answers, rows_of
from scalpel.registry import register


@register("keep set", "tokens")
def by_token(
    name: str,
    tokens: Tokens,
    measured: Collection[Hashable],
    *,
    task: Task,
    n: Count | None = None,
    seed: Seed = 0,
    sure: Share = 0.5,
) -> Answers:
    """Each token of an answer to which the base gives `sure` or more is kept while it is the most likely one."""
    rows = rows_of(name, tokens, examples_of(name, task, n, seed, measured))
    return Answers(name, rows, by_token=True, sure=sure)
