"""Generate and verify: the model answers greedily, and the task's verifier says whether the answer is right.

right_i = [score(answer_i) ≥ 1].   value_i = Σ_t log p(demonstration token t | prompt), in nats.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from scalpel.binding.bounds import Count, Seed, Tokens
from scalpel.data.example import (
    Example,
    Split,
    Task,
    items_of,
)
from scalpel.evaluation.probes.item import (
    Answer,
    ItemResult,
    Role,
    answer_of,
    chosen,
    prompt_text,
    question,
)
from scalpel.registry import register
from scalpel.rewards.scored import unread

if TYPE_CHECKING:
    from scalpel.engine import Engine, Sampling


@dataclass(frozen=True)
class Generate:
    """`n` items of a task's split, answered by greedy decoding. An item is right if its score is 1.

    Beside right and wrong it records the log-probability of the item's demonstration (or, where there is none, of its
    answer), which changes long before a greedy answer flips.
    """

    name: str
    task: Task
    n: int | None = None  # unset: all rows of a data set, or 200 items of a task that generates them
    split: Split = "test"
    seed: int = 0
    max_tokens: int = 64
    stop: tuple[str, ...] = ()
    role: Role = "keep"
    ids: frozenset[str] | None = None
    kind: str = field(default="generate", init=False)
    unit: str = field(default="log p of the right answer, nats", init=False)

    def __post_init__(self) -> None:
        if self.n is not None and self.n < 1:
            raise ValueError(f"probe {self.name!r}: n = {self.n} items; it needs at least 1")
        if self.max_tokens < 1:
            raise ValueError(f"probe {self.name!r}: max_tokens = {self.max_tokens}; it needs at least 1")

    def items(self) -> list[Example]:
        return chosen(self.name, items_of(self.task, self.split, self.n, self.seed, 200), self.ids)

    def only(self, ids: Collection[str]) -> Self:
        return replace(self, ids=frozenset(ids))

    def questions(self) -> Iterable[str]:
        return map(question, self.items())

    def run(self, engine: Engine, reference: Engine | None = None) -> list[ItemResult]:
        items = self.items()
        outputs = self.answers(engine, items)
        values = right_logps(engine, items)
        return [self.result(*row) for row in zip(items, outputs, values, strict=True)]

    def result(self, example: Example, output: Answer, value: float | None) -> ItemResult:
        score = self.task.score(output.text, example)
        return ItemResult(
            id=example.id,
            right=score >= 1.0,
            value=value,
            output=output.text,
            prompt=prompt_text(example.prompt),
            answer=right_answer(example),
            unread=unread(score),
            cut_off=output.cut_off,
        )

    def answers(self, engine: Engine, items: list[Example]) -> list[Answer]:
        """The greedy answer to each item."""
        if not items:
            return []
        samples = engine.sample([engine.tokens.prompt(e.prompt) for e in items], self.sampling(0.0))
        return [answer_of(engine, group[0]) for group in samples]

    def tries(self, engine: Engine, *, k: int, seed: int = 0) -> dict[str, bool]:
        """Whether any of k samples at temperature 1 is right, by item id (pass@k)."""
        items = self.items()
        if not items:
            return {}
        prompts = [engine.tokens.prompt(example.prompt) for example in items]
        groups = engine.sample(prompts, self.sampling(1.0), n=k, seed=seed)
        return {
            example.id: any(self.task.score(engine.tokens.text(s.ids), example) >= 1.0 for s in group)
            for example, group in zip(items, groups, strict=True)
        }

    def sampling(self, temperature: float) -> Sampling:
        from scalpel.engine import Sampling

        return Sampling(max_tokens=self.max_tokens, temperature=temperature, stop=self.stop)


@register("probe", "generate")
def generate(
    name: str,
    role: Role,
    answer_tokens: int,
    *,
    task: Task,
    n: Count | None = None,
    split: Split = "test",
    seed: Seed = 0,
    max_tokens: Tokens | None = None,
    stop: tuple[str, ...] = (),
) -> Generate:
    """Greedy answers, verified by the task: right or wrong, and log p of the right answer.

    `answer_tokens` limits an answer for which the table gives no max_tokens.
    """
    return Generate(name, task, n, split, seed, max_tokens or answer_tokens, stop, role)


def right_answer(example: Example) -> str:
    """The right answer as the ledger shows it: the answer, or else the demonstration."""
    return example.answer if example.answer is not None else (example.completion or "")


def right_logps(engine: Engine, items: list[Example]) -> list[float | None]:
    """Σ_t log p of each item's demonstration, or else of its answer, in nats; None where it has neither."""
    texts = [example.completion if example.completion is not None else example.answer for example in items]
    rows = [
        (engine.tokens.prompt(example.prompt), engine.tokens.completion(text, example.prompt))
        for example, text in zip(items, texts, strict=True)
        if text is not None
    ]
    sums = iter([sum(logps) for logps in engine.logps(rows)] if rows else [])
    return [None if text is None else next(sums) for text in texts]
