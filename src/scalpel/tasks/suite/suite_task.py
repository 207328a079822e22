"""SuiteTask: an ability of the shipped suite, as a generator of questions with a verifier that is a program.

Nothing is downloaded: an item is made by a seeded generator, and the split of an item follows from its content alone,
so that what is trained (as a keep set, say) is never what is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, NamedTuple

from scalpel.binding.bind import Key
from scalpel.data.example import Example, Message, Prompt, Split
from scalpel.registry import register
from scalpel.tasks.split import SHARES, digest, split_of

VERSION = "1"  # results of different versions don't compare: raise it whenever an item or a verifier changes
PATIENCE = 500  # consecutive draws without a new item after which a split counts as exhausted
SHOTS = 3  # solved questions before the asked one, for a model without a chat template


FEW: dict[Split, float] = {"train": 0.15, "tune": 0.1, "keep": 0.25, "test": 0.5}  # of abilities with few contents


class Draft(NamedTuple):
    """What a generator returns. `key` is the content that decides the split and identifies the item: one fact is one
    item, however it is asked, since items are counted as independent. `columns` is what the verifier reads."""

    key: str
    prompt: str | tuple[Message, ...]
    answer: str
    columns: Mapping[str, Any] = {}


Generator = Callable[[Random], Draft]
Judge = Callable[[str, Example], float]


class SuiteTask:
    """One ability. With `plain` its questions are text with three solved ones before them, for models that have no chat
    template; otherwise they are chat messages."""

    def __init__(
        self, name: str, generate: Generator, judge: Judge, *, shares: dict[Split, float] = SHARES, plain: bool = False
    ) -> None:
        self.name, self.generate, self.judge, self.shares, self.plain = name, generate, judge, shares, plain

    def keys(self) -> dict[str, Key]:
        return {"plain": Key(bool, False)}

    def at(self, *, plain: bool = False) -> SuiteTask:
        return SuiteTask(self.name, self.generate, self.judge, shares=self.shares, plain=plain)

    def stream(self, split: Split, seed: int = 0) -> Iterator[Example]:
        """The distinct items of the split, until the generator yields no new ones."""
        random, seen, idle = Random(f"{self.name}:{split}:{seed}"), set(), 0
        shots = self.shots() if self.plain else ""
        while idle < PATIENCE:
            draft, idle = self.generate(random), idle + 1
            if draft.key in seen or self.split(draft) != split:
                continue
            seen.add(draft.key)
            idle = 0
            yield self.example(draft, split, shots)

    def examples(self, split: Split, n: int, seed: int = 0) -> list[Example]:
        """The first n distinct items of the split, or all of them where it has fewer."""
        return [example for _, example in zip(range(n), self.stream(split, seed), strict=False)]

    def split(self, draft: Draft) -> Split:
        return split_of(f"{self.name}:{draft.key}", self.shares)

    def score(self, completion: str, example: Example) -> float:
        return self.judge(completion, example)

    def example(self, draft: Draft, split: Split, shots: str) -> Example:
        return Example(
            prompt=shots + asked(draft) if self.plain else messages(draft),
            completion=(" " if self.plain else "") + draft.answer,
            answer=draft.answer,
            id=f"{self.name}:{split}:{digest(draft.key)}",
            columns=draft.columns,
        )

    def shots(self) -> str:
        """Solved questions, of the train split, the same before every item."""
        found: list[str] = []
        random = Random(f"{self.name}:shots")
        while len(found) < SHOTS:
            draft = self.generate(random)
            if self.split(draft) == "train":
                found.append(f"{asked(draft)} {draft.answer}\n\n")
        return "".join(found)

    def __repr__(self) -> str:
        return f"SuiteTask({self.name!r})"


def messages(draft: Draft) -> Prompt:
    """The question as chat messages."""
    return ({"role": "user", "content": draft.prompt},) if isinstance(draft.prompt, str) else draft.prompt


def asked(draft: Draft) -> str:
    """The question as text, up to the place of the answer."""
    if isinstance(draft.prompt, str):
        return f"Question: {draft.prompt}\nAnswer:"
    turns = [f"{'Question' if turn['role'] == 'user' else 'Answer'}: {turn['content']}" for turn in draft.prompt]
    return "\n".join(turns) + "\nAnswer:"


def suite_task(name: str, judge: Judge, shares: dict[Split, float] = SHARES) -> Callable[[Generator], SuiteTask]:
    """Registers a generator as `suite/<name>`."""

    def enter(generate: Generator) -> SuiteTask:
        task = SuiteTask(f"suite/{name}", generate, judge, shares=shares)
        register("task", task.name)(task)
        return task

    return enter
