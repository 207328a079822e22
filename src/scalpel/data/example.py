"""Example: one row of a data set, with the column names that TRL uses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

# {"role": …, "content": text} and any other key that a template may read: tool_calls, reasoning_content, name, weight,
# …
Message = Mapping[str, Any]
Prompt = str | tuple[Message, ...]  # plain text, or chat messages that the model's template renders
Split = Literal["train", "tune", "keep", "test"]
SPLITS: tuple[Split, ...] = ("train", "tune", "keep", "test")


class Turns(tuple[Message, ...]):
    """Messages together with the tool schemas and the keyword arguments that the chat template gets."""

    tools: tuple[Mapping[str, Any], ...]
    options: Mapping[str, Any]

    def __new__(
        cls,
        messages: Iterable[Message],
        tools: Iterable[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        made = super().__new__(cls, messages)
        made.tools, made.options = tuple(tools), dict(options or {})
        return made


def template_arguments(prompt: object) -> tuple[tuple[Mapping[str, Any], ...], Mapping[str, Any]]:
    """The tools and the template's keyword arguments that belong to a prompt; empty for a prompt without any."""
    return (prompt.tools, prompt.options) if isinstance(prompt, Turns) else ((), {})


def with_arguments_of(prompt: object, messages: Iterable[Message]) -> tuple[Message, ...]:
    """Other messages with the tools and the template's keyword arguments of this prompt. Plain tuples lose them, so any
    function that builds a new prompt from an old one must go through this."""
    tools, options = template_arguments(prompt)
    return Turns(messages, tools, options) if tools or options else tuple(messages)


@dataclass(frozen=True)
class Example:
    """One item of a data set or task.

    A prompt as text is tokenised without a chat template; a prompt as messages goes through the chat template.
    `completion` is a demonstration, `chosen`/`rejected` a preference pair, `label` an unpaired preference for or
    against `completion`, `answer` the reference answer that a verifier compares with. `messages` is a whole
    conversation of which every assistant turn is trained, except those of `weight` 0. `tools` are the schemas that the
    template gets; messages hold them too (`Turns`). `columns` holds all other columns of the row; reward functions get
    them by name.
    """

    prompt: Prompt = ""
    completion: str | None = None
    answer: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    label: bool | None = None
    messages: tuple[Message, ...] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    id: str = ""  # stable and unique within a task: the ledger compares items by it
    columns: Mapping[str, Any] = field(default_factory=dict)
    where: str = field(default="", compare=False)  # "data.jsonl:17", for messages about the row


def named(example: Example, otherwise: object = "") -> str:
    """How a message names an example: its file and line, else its id, else what the caller calls it."""
    return example.where or f"example {example.id or otherwise!r}"


def items_of(task: Task, split: Split, n: int | None, seed: int, otherwise: int) -> Sequence[Example]:
    """The first n items of a split. Where n is None: all rows of a data set, and `otherwise` items of a task that
    generates them."""
    size = getattr(task, "size", None)
    return task.examples(split, (size(split) if size else otherwise) if n is None else n, seed)


def place(example: Example) -> str:
    """The row's file and line, or its id; empty if it has neither."""
    return named(example) if example.where or example.id else ""


@contextmanager
def located(where: str) -> Iterator[None]:
    """Prefixes a ValueError with the place of the row, unless its message begins with it already."""
    try:
        yield
    except ValueError as error:
        raise error if not where or str(error).startswith(where) else ValueError(f"{where}: {error}") from error


def answered(example: Example) -> tuple[Prompt, str]:
    """The prompt and the target text: the completion, else the answer; for a conversation its last assistant turn, or
    that turn's tool calls as JSON. The text is empty where there is none."""
    if example.messages is None:
        return example.prompt, example.completion or example.answer or ""
    last = max((i for i, turn in enumerate(example.messages) if turn["role"] == "assistant"), default=0)
    turn = example.messages[last] if last else {}
    text = turn.get("content") or (json.dumps(turn["tool_calls"], ensure_ascii=False) if turn.get("tool_calls") else "")
    return with_arguments_of(example.messages, example.messages[:last]), text


class Task(Protocol):
    """Prompts with a verifier. Item i of a split depends only on (split, seed, i)."""

    name: str

    def examples(self, split: Split, n: int, seed: int = 0) -> Sequence[Example]:
        """The first n items of the split, or all of them where it has fewer. Splits are disjoint."""
        ...

    def score(self, completion: str, example: Example) -> float:
        """The verifier's score in [0, 1]; 1.0 counts as solved, and the example's own answer scores 1.0."""
        ...
