"""Fluency: whether an answer ends by itself and doesn't repeat itself. It needs no right answer, so any prompt will
do.

right_i = [answer i ended before max_tokens] · [distinct-4 ≥ 1/2].   value_i = distinct-4: different 4-grams of words /
4-grams of words; 1 for an answer of fewer than four words.

Source   distinct-n, Li et al. 2016 (arXiv 1510.03055); repetition as a failure of greedy decoding, Holtzman et al. 2020
(arXiv 1904.09751)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from scalpel.binding.bounds import Count, Seed, Tokens
from scalpel.data.example import Prompt, Split, Task, items_of
from scalpel.evaluation.probes.item import Answer, ItemResult, Role, answer_of, distinct, prompt_text
from scalpel.registry import register

if TYPE_CHECKING:
    from scalpel.engine import Engine

GRAM = 4
LEAST = 0.5  # of an answer's 4-grams must differ; a loop of one sentence soon falls below it


@dataclass(frozen=True)
class Fluency:
    """Greedy answers to open prompts, judged by their end and their repetitions."""

    name: str
    prompts: tuple[Prompt, ...]
    max_tokens: int = 128
    role: Role = "keep"
    kept: frozenset[str] | None = None
    kind: str = field(default="fluency", init=False)
    unit: str = field(default="different 4-grams of words, share", init=False)

    def __post_init__(self) -> None:
        distinct(self.name, [str(k) for k in range(len(self.prompts))])

    def only(self, ids: Collection[str]) -> Self:
        return replace(self, kept=frozenset(ids))

    def questions(self) -> Iterable[str]:
        return map(prompt_text, self.prompts)

    def run(self, engine: Engine, reference: Engine | None = None) -> list[ItemResult]:
        from scalpel.engine import Sampling

        asked = {str(k): p for k, p in enumerate(self.prompts) if self.kept is None or str(k) in self.kept}
        prompts = [engine.tokens.prompt(prompt) for prompt in asked.values()]
        groups = engine.sample(prompts, Sampling(max_tokens=self.max_tokens, temperature=0.0)) if prompts else []
        return [
            self.result(id, prompt, answer_of(engine, group[0]))
            for (id, prompt), group in zip(asked.items(), groups, strict=True)
        ]

    def result(self, id: str, prompt: Prompt, answer: Answer) -> ItemResult:
        share = different(answer.text)
        ended = not answer.cut_off and bool(answer.text.strip())
        return ItemResult(id, ended and share >= LEAST, share, answer.text, prompt_text(prompt), cut_off=answer.cut_off)


def different(text: str) -> float:
    """The share of a text's 4-grams of words that differ from all before them."""
    words = text.split()
    grams = [tuple(words[k : k + GRAM]) for k in range(len(words) - GRAM + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0


@register("probe", "fluency")
def fluency(
    name: str,
    role: Role,
    *,
    prompts: tuple[Prompt, ...] = (),
    task: Task | None = None,
    n: Count | None = None,
    split: Split = "test",
    seed: Seed = 0,
    max_tokens: Tokens = 128,
) -> Fluency:
    """Whether greedy answers to `prompts`, given or of a task, end by themselves and don't repeat themselves."""
    if (task is None) == (not prompts):
        raise ValueError(f"probe {name!r} needs open questions: give either a task or prompts")
    if task is not None:
        prompts = tuple(example.prompt for example in items_of(task, split, n, seed, 50))
    return Fluency(name, prompts, max_tokens, role)
