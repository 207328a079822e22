"""The log-probability of given text: how likely an answer still is under the model, without generation.

value_i = (1/T) Σ_t log p(answer_t | prompt, answer_<t), in nats per token. There is no right and wrong; the value
changes long before a greedy answer flips.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from scalpel.binding.bounds import Count, Seed
from scalpel.data.example import Example, Split, Task, answered, items_of, named
from scalpel.evaluation.probes.item import (
    ItemResult,
    Role,
    distinct,
    prompt_text,
    question,
)
from scalpel.registry import register

if TYPE_CHECKING:
    from scalpel.engine import Engine


@dataclass(frozen=True)
class Given:
    """Mean log-probability per token of each example's completion, or else of its answer, or of the assistant's last
    turn in a conversation."""

    name: str
    examples: tuple[Example, ...]
    role: Role = "keep"
    kind: str = field(default="given", init=False)
    unit: str = field(default="log p of the given text per token, nats", init=False)

    def __post_init__(self) -> None:
        distinct(self.name, [example.id for example in self.examples])
        for example in self.examples:
            if not answered(example)[1]:
                raise ValueError(
                    f"probe {self.name!r}: {named(example)} has neither completion nor answer nor an assistant's "
                    "turn, so there is no text to score; map a column to one of them"
                )

    def only(self, ids: Collection[str]) -> Self:
        return replace(self, examples=tuple(e for e in self.examples if e.id in ids))

    def questions(self) -> Iterable[str]:
        return map(question, self.examples)

    def run(self, engine: Engine, reference: Engine | None = None) -> list[ItemResult]:
        pairs = [answered(example) for example in self.examples]
        rows = [engine.tokens.last(example) for example in self.examples]
        return [
            ItemResult(example.id, None, mean(logps), "", prompt_text(prompt), text)
            for example, (prompt, text), logps in zip(self.examples, pairs, engine.logps(rows), strict=True)
        ]


def mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


@register("probe", "given")
def given(name: str, role: Role, *, task: Task, n: Count | None = None, split: Split = "test", seed: Seed = 0) -> Given:
    """The mean log-probability per token of given text: the completion, answer or last turn of each example."""
    return Given(name, tuple(items_of(task, split, n, seed, 200)), role)
