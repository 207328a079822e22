"""The pretraining corpus: an unlimited mixture of the world's tasks.

Document i depends only on (split, seed, i). Procedures come from their training split alone. Knowledge (facts and
sentences about known people) comes from all splits, since a fact that was never stated can't be known. The skills that
are held out for post-training, and the people who are new, don't occur.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from random import Random
from types import MappingProxyType
from typing import overload

from scalpel.data.example import Example, Message, Split
from scalpel.data.special_tokens import ControlText
from scalpel.registry import register, unknown
from scalpel.world.task import WorldTask, example_of, final
from scalpel.world.tasks.boxes import BOXES
from scalpel.world.tasks.chat import CHAT
from scalpel.world.tasks.context import CONTEXT
from scalpel.world.tasks.facts import FACTS_A, FACTS_B
from scalpel.world.tasks.sentences import SENTENCES_TASK
from scalpel.world.tasks.strings import REVERSE, REVERSE_B, SORT, SORT_B
from scalpel.world.tasks.sums import ADD, SUBTRACT
from scalpel.world.tasks.unanswerable import UNANSWERABLE
from scalpel.world.tasks.worked import CHAINS, MULTIPLY

WEIGHTS: dict[WorldTask, float] = {
    FACTS_A: 8,
    FACTS_B: 6,
    SENTENCES_TASK: 6,
    REVERSE: 5,
    REVERSE_B: 4,
    SORT: 6,
    SORT_B: 4,
    ADD: 9,
    SUBTRACT: 9,
    CHAINS: 9,
    BOXES: 18,
    CONTEXT: 5.5,
    UNANSWERABLE: 5,
    CHAT: 5,
    MULTIPLY: 0.8,  # so rare that the model solves it only sometimes, which gives reinforcement learning a signal
}
KNOWLEDGE = (FACTS_A, FACTS_B, SENTENCES_TASK)
WHOLE = 0.1  # share of documents whose prompt is trained too, so that the model can sample questions by itself
TURN = {"user": "<user>{}", "assistant": "<bot>{}<end>"}
TASKS = tuple(WEIGHTS)
Bounds = tuple[float, ...]  # cumulative weights, in the order of the tasks


def bounds(more: Mapping[str, float] = MappingProxyType({})) -> Bounds:
    """The cumulative weights of the mixture, with the weights of the named tasks multiplied by these factors."""
    known = {task.name.removeprefix("world/"): task for task in TASKS}
    for name, factor in more.items():
        if name not in known:
            raise ValueError(
                f"the corpus can't change the weight of a task that it lacks: {unknown('task', name, known)}"
            )
        if factor < 0:
            raise ValueError(f"{name} can't have {factor} times its weight in the corpus: set 0 or more")
    return tuple(accumulate(weight * more.get(name, 1.0) for name, weight in zip(known, WEIGHTS.values(), strict=True)))


def factors(words: Sequence[str]) -> dict[str, float]:
    """Parses words such as boxes=4: a task and the factor on its weight."""
    try:
        return {name: float(factor) for name, _, factor in (word.partition("=") for word in words)}
    except ValueError:
        raise ValueError(f"{', '.join(words)}: write a task and the factor on its weight, as in boxes=4") from None


BOUNDS = bounds()


def corpus_example(i: int, seed: int = 0, split: Split = "train", bounds: Bounds = BOUNDS) -> Example:
    """Document i of the mixture."""
    # Every draw comes from this generator, in this order. Pretrained models are reproduced only while it stays the
    # same.
    rng = Random(f"corpus:{split}:{seed}:{i}")
    task = TASKS[bisect(bounds, rng.random() * bounds[-1])]
    draft = task.draft(rng, None if task in KNOWLEDGE and split == "train" else split)
    example = example_of(draft, f"world/corpus:{split}:{seed}:{i}")
    if rng.random() < WHOLE:
        return whole(example)
    return example if isinstance(example.prompt, str) else conversation(example)


def conversation(example: Example) -> Example:
    """A conversation in which every assistant turn is trained; an example with a single question is returned as it
    is."""
    assert not isinstance(example.prompt, str)
    if len(example.prompt) == 1:
        return example
    last: Message = {"role": "assistant", "content": example.completion or ""}
    return replace(example, messages=(*example.prompt, last))


def whole(example: Example) -> Example:
    """The example as a document in which the prompt is trained as well as the completion."""
    if isinstance(example.prompt, str):
        text = example.prompt
    else:
        text = "".join([TURN[turn["role"]].format(turn["content"]) for turn in example.prompt]) + "<bot>"
    return replace(example, prompt="", completion=ControlText(text + (example.completion or "")), answer=None)


class Documents(Sequence[Example]):
    """The first n documents of a split, as a sequence that generates each document when it is indexed."""

    def __init__(self, n: int, seed: int = 0, split: Split = "train", bounds: Bounds = BOUNDS) -> None:
        self.n, self.seed, self.split, self.bounds = n, seed, split, bounds

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, i: int) -> Example: ...
    @overload
    def __getitem__(self, i: slice) -> list[Example]: ...
    def __getitem__(self, i: int | slice) -> Example | list[Example]:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(self.n))]
        if not -self.n <= i < self.n:
            raise IndexError(f"document {i} of {self.n}")
        return corpus_example(i % self.n, self.seed, self.split, self.bounds)


class Corpus:
    """The corpus as a task: pretraining uses its training split, the others are held-out documents."""

    name = "world/corpus"

    def __init__(self, more: Mapping[str, float] = MappingProxyType({})) -> None:
        self.bounds = bounds(more)

    def at(self, *, more: Mapping[str, float]) -> Corpus:
        """The corpus with more of some tasks, as in more = {boxes = 4}."""
        return Corpus(more)

    def examples(self, split: Split, n: int, seed: int = 0) -> Sequence[Example]:
        """The first n documents, each generated when it is indexed, since pretraining uses millions of them."""
        return Documents(n, seed, split, self.bounds)

    def score(self, completion: str, example: Example) -> float:
        """1 where the final answer is correct. A whole document has no answer, and must be reproduced exactly."""
        if example.answer is None:
            return float(completion == example.completion)
        return float(final(completion) == example.answer)


CORPUS = register("task", Corpus.name)(Corpus())
