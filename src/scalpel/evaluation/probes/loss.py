"""The loss on held-out text, such as documents of the pretraining corpus: what a model still knows of all that it was
pretrained on, in one number.

value_i = −(1/T) Σ_t log p(token_t | earlier tokens of document i), over its T trained tokens, in nats per token. There
is no right and wrong. In a conversation these are the tokens of all assistant turns; in text without a prompt, all
tokens.

It rises before greedy answers flip, and varies less between seeds than the share of items lost. Over documents of the
base's own pretraining corpus its rise is the loss of that distribution.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from scalpel.binding.bounds import Count, Seed
from scalpel.data.example import Example, Split, Task, answered, items_of
from scalpel.evaluation.probes.given import mean
from scalpel.evaluation.probes.item import ItemResult, Role, distinct, prompt_text, question
from scalpel.registry import register

if TYPE_CHECKING:
    from scalpel.data.tokenized import Tokenized
    from scalpel.engine import Engine

DOCUMENTS = 200  # where a table doesn't say how many


@dataclass(frozen=True)
class Loss:
    """Mean negative log-likelihood of the trained tokens of each example, in nats per token."""

    name: str
    examples: tuple[Example, ...]
    role: Role = "keep"
    kind: str = field(default="loss", init=False)
    unit: str = field(default="loss per token, nats", init=False)

    def __post_init__(self) -> None:
        distinct(self.name, [example.id for example in self.examples])

    def only(self, ids: Collection[str]) -> Self:
        return replace(self, examples=tuple(e for e in self.examples if e.id in ids))

    def questions(self) -> Iterable[str]:
        return map(question, self.examples)

    def run(self, engine: Engine, reference: Engine | None = None) -> list[ItemResult]:
        # one sequence for a document, unless its chat template renders each turn anew
        documents = [engine.tokens.demonstrations(example) for example in self.examples]
        rows = [(row.ids[:1], row.ids[1:]) for document in documents for row in document]
        logps = iter(engine.logps(rows))
        return [
            ItemResult(example.id, None, loss([(row, next(logps)) for row in document]), "", *shown(example))
            for example, document in zip(self.examples, documents, strict=True)
        ]


def loss(document: Iterable[tuple[Tokenized, Sequence[float]]]) -> float:
    """The mean over trained tokens. The log-probs of a row begin with its second token: nothing predicts the first."""
    pairs = [pair for row, logps in document for pair in zip(logps, row.train[1:], strict=True)]
    return -mean(logp for logp, trained in pairs if trained)


def shown(example: Example) -> tuple[str, str]:
    """Prompt and text of a document, for a reader."""
    prompt, text = answered(example)
    return prompt_text(prompt), text


@register("probe", "loss")
def held_out_loss(
    name: str, role: Role, *, task: Task, n: Count | None = None, split: Split = "test", seed: Seed = 0
) -> Loss:
    """The loss per token on held-out text, such as the pretraining corpus `world/corpus`: what is left of all that
    pretraining taught."""
    return Loss(name, tuple(items_of(task, split, n, seed, DOCUMENTS)), role)
