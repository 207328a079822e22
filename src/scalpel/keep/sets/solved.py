"""Questions that the model must still answer right by greedy decoding, as judged by the task's verifier."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

from scalpel.binding.bounds import Count, Seed, Tokens
from scalpel.data.example import Example, Task
from scalpel.engine import Engine
from scalpel.evaluation.probes import Generate
from scalpel.keep.sets.ability import Ability, examples_of
from scalpel.registry import register


@dataclass(frozen=True)
class Solved(Ability):
    """Prompts that the model answers by greedy decoding; a unit is an item."""

    name: str
    probe: Generate
    examples: tuple[Example, ...]

    def __len__(self) -> int:
        return len(self.examples)

    def flags(self, engine: Engine, chosen: Sequence[int]) -> list[list[bool]]:
        asked = [self.examples[i] for i in chosen]
        answers = self.probe.answers(engine, asked)
        return [[self.probe.task.score(one.text, example) >= 1.0] for one, example in zip(answers, asked, strict=True)]


@register("keep set", "solved")
def solved(
    name: str,
    measured: Collection[Hashable],
    answer_tokens: int,
    *,
    task: Task,
    n: Count | None = None,
    seed: Seed = 0,
    max_tokens: Tokens | None = None,
) -> Solved:
    """An item is kept while the model's greedy answer is right by the task's own verifier: for tasks with several right
    answers."""
    examples = tuple(examples_of(name, task, n, seed, measured))
    return Solved(name, Generate(name, task, len(examples), "keep", seed, max_tokens or answer_tokens), examples)
