"""WorldTask: a task with disjoint splits, made from a generator of drafts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from scalpel.binding.bind import Key
from scalpel.data.example import (
    Example,
    Message,
    Prompt,
    Split,
)
from scalpel.registry import register
from scalpel.world.splits import split_of

MARKER = "#"  # separates the steps of a worked solution from its final answer
Difficulty = Annotated[int, Field(ge=0, le=1000)]
ShareOfItems = Annotated[float, Field(ge=0, le=1)]
PATIENCE = 2000  # consecutive draws without a new item after which a split counts as exhausted


class Draft(NamedTuple):
    """What a generator returns: a question and its correct answer.

    `family` and `key` name the content that decides the split: two drafts with the same family and key are always in
    the same split. `variant` distinguishes questions about the same content (phrasing, order of operands).
    """

    family: str
    key: str
    prompt: str | tuple[Message, ...]  # text is one user turn; write `plain=True` for text without a chat
    completion: str
    answer: str
    variant: str = ""
    columns: Mapping[str, Any] = {}
    plain: bool = False
    messages: tuple[Message, ...] | None = None  # a demonstration of several turns, where one completion won't do


Generator = Callable[..., Draft]
Feedback = Callable[[str, Example], str]
Conjugate = Callable[[Example], "tuple[Example, Callable[[str], str]] | None"]


def by_content(draft: Draft) -> Split:
    return split_of(draft.family, draft.key)


def final(completion: str) -> str:
    """The final answer: the text after the last marker, or all of it where there is no marker."""
    return completion.rpartition(MARKER)[2].strip(" .\n")


class WorldTask:
    """A task of the world. `difficulty` are the keyword arguments of its generator.

    Item i of a split depends only on (task, split, seed, i): the items are the distinct draws of one seeded stream,
    in order of first appearance. Where a split has fewer items than requested, all of them are returned.
    """

    def __init__(
        self,
        name: str,
        generate: Generator,
        *,
        split: Callable[[Draft], Split] = by_content,
        conjugate: Conjugate | None = None,
        feedback: Feedback | None = None,
        **difficulty: Any,
    ) -> None:
        self.name = name
        self.generate = generate
        self.split = split
        self.difficulty = difficulty
        self._conjugate = conjugate
        self._feedback = feedback

    def keys(self) -> dict[str, Key]:
        """The keys of its difficulty that a recipe may set, with their types and defaults: a share of the items where
        the default is a float, a whole number elsewhere."""
        return {
            name: Key(ShareOfItems if isinstance(value, float) else Difficulty, value)
            for name, value in self.difficulty.items()
        }

    def at(self, **difficulty: Any) -> WorldTask:
        """The same task at another difficulty, such as `at(most=10)`. ValueError for an unknown key, or for a
        difficulty at which the generator fails."""
        known = self.difficulty.keys()
        if unknown_keys := sorted(difficulty.keys() - known):
            raise ValueError(
                f"{self.name} has no difficulty key {', '.join(unknown_keys)}: it has "
                f"{', '.join(sorted(known)) or 'none'}"
            )
        new = {**self.difficulty, **difficulty}
        if new.get("least", 0) > new.get("most", new.get("least", 0)):
            raise ValueError(
                f"{self.name}: least is {new['least']} and most is {new['most']}: lower least or raise most"
            )
        try:
            self.generate(Random(0), **new)
        except (ValueError, LookupError, ArithmeticError) as error:
            raise ValueError(f"{self.name} can't generate an item at difficulty {new}: {error}") from error
        return WorldTask(
            self.name, self.generate, split=self.split, conjugate=self._conjugate, feedback=self._feedback, **new
        )

    def draft(self, rng: Random, split: Split | None = None) -> Draft:
        """Draws until the content belongs to the split; with None it takes the first draw."""
        for _ in range(PATIENCE):
            draft = self.generate(rng, **self.difficulty)
            if split is None or self.split(draft) == split:
                return draft
        raise ValueError(
            f"{self.name} has no {split!r} item at difficulty {self.difficulty}: allow a wider range of contents"
        )

    def stream(self, split: Split, seed: int = 0) -> Iterator[Example]:
        """The distinct items of the split, until the generator yields no new ones."""
        rng = Random(f"{self.name}:{split}:{seed}")
        seen: set[str] = set()
        idle = 0
        while idle < PATIENCE:
            draft = self.generate(rng, **self.difficulty)
            idle += 1
            if self.split(draft) != split:
                continue
            name = identity(draft)
            if name not in seen:
                seen.add(name)
                idle = 0
                yield example_of(draft, f"{self.name}:{split}:{name}")

    def examples(self, split: Split, n: int, seed: int = 0) -> list[Example]:
        """The first n distinct items of the split, or all of them where it has fewer."""
        return [example for _, example in zip(range(n), self.stream(split, seed), strict=False)]

    def score(self, completion: str, example: Example) -> float:
        """1 where the final answer equals the correct one exactly, else 0."""
        return float(final(completion) == example.answer)

    def feedback(self, completion: str, example: Example) -> str:
        """Textual feedback on a completion; empty where it is correct, or where the task gives no feedback."""
        return self._feedback(completion, example) if self._feedback else ""

    def conjugate(self, example: Example) -> tuple[Example, Callable[[str], str]] | None:
        """The same item in the world's other language, with the function that translates its completion back; None if
        there is none."""
        return self._conjugate(example) if self._conjugate else None

    def __repr__(self) -> str:
        return f"WorldTask({self.name!r})"


def identity(draft: Draft) -> str:
    return f"{draft.key}/{draft.variant}" if draft.variant else draft.key


def example_of(draft: Draft, id: str) -> Example:
    """The example of a draft: a single question becomes a user turn."""
    prompt: Prompt = draft.prompt
    if isinstance(prompt, str) and not draft.plain:
        prompt = ({"role": "user", "content": prompt},)
    return Example(
        prompt=prompt,
        completion=draft.completion,
        answer=draft.answer,
        messages=draft.messages,
        id=id,
        columns=draft.columns,
    )


def world_task(name: str, generate: Generator, **options: Any) -> WorldTask:
    """Makes the task and registers it as `world/<name>`."""
    task = WorldTask(f"world/{name}", generate, **options)
    register("task", task.name)(task)
    return task
