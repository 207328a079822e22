"""Answers that must stay the model's first choice: whole, or token by token.

kept_i = [argmax p(·|prompt_i, answer_i,<t) = answer_i,t for every t];   with `by_token` one such unit for each t.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from math import log

from scalpel.binding.bounds import Count, Seed
from scalpel.data.example import Example, Task, answered, named
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine
from scalpel.keep.sets.ability import Ability, Row, examples_of
from scalpel.registry import register


@dataclass(frozen=True)
class Answers(Ability):
    """Prompts with answers. A unit is a whole answer, or with `by_token` each token of it to which the base gives a
    probability of at least `sure`."""

    name: str
    rows: tuple[Row, ...]
    by_token: bool = False
    sure: float = 0.0

    def __len__(self) -> int:
        return len(self.rows)

    def flags(self, engine: Engine, chosen: Sequence[int]) -> list[list[bool]]:
        firsts = engine.first_choices([self.rows[i] for i in chosen])
        return firsts if self.by_token else [[all(first)] for first in firsts]

    def known(self, base: Engine) -> list[list[bool]]:
        # the margin `sure` holds for the base only: a kept token may fall below it as long as it is the first choice
        flags = super().known(base)
        if not self.sure:
            return flags
        pairs = zip(flags, base.logps(self.rows), strict=True)
        return [[f and logp >= log(self.sure) for f, logp in zip(*item, strict=True)] for item in pairs]


def rows_of(name: str, tokens: Tokens, examples: Sequence[Example]) -> tuple[Row, ...]:
    return tuple(row(tokens, example, name) for example in examples)


def row(tokens: Tokens, example: Example, name: str) -> Row:
    """Prompt and right answer of an example as token ids."""
    if not answered(example)[1]:
        raise ValueError(f"keep set {name!r}: {named(example)} has no completion, answer or assistant's turn")
    return tokens.last(example)


@register("keep set", "answers")
def answers(
    name: str, tokens: Tokens, measured: Collection[Hashable], *, task: Task, n: Count | None = None, seed: Seed = 0
) -> Answers:
    """An item is kept while each token of its answer is the model's most likely next token."""
    return Answers(name, rows_of(name, tokens, examples_of(name, task, n, seed, measured)))
