"""Example: what one row of a data set becomes, in the column names that TRL users know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

# {"role": …, "content": text} and whatever else the template may know: tool_calls, reasoning_content, name, weight, …
Message = Mapping[str, Any]
Prompt = str | tuple[Message, ...]  # plain text, or chat messages that the model's template renders
Split = Literal["train", "tune", "keep", "test"]
SPLITS: tuple[Split, ...] = ("train", "tune", "keep", "test")


class Turns(tuple[Message, ...]):
    """Messages with what the chat template gets beside them: schemas of tools, and arguments of its own."""

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


def beside(prompt: object) -> tuple[tuple[Mapping[str, Any], ...], Mapping[str, Any]]:
    """The tools and the template's arguments that come with a prompt; none with a plain one."""
    return (prompt.tools, prompt.options) if isinstance(prompt, Turns) else ((), {})


def like(prompt: object, messages: Iterable[Message]) -> tuple[Message, ...]:
    """Other messages with the tools and arguments of this prompt."""
    tools, options = beside(prompt)
    return Turns(messages, tools, options) if tools or options else tuple(messages)


@dataclass(frozen=True)
class Example:
    """One item.

    A prompt as text is fed as it stands; a prompt as messages goes through the chat template.
    `completion` is a demonstration, `chosen`/`rejected` a preference pair, `label` an unpaired
    verdict on `completion`, `answer` what a verifier compares with. `messages` is a whole
    conversation of which every assistant turn is trained, but those of `weight` 0. `tools` are the
    schemas that the template gets; messages carry them along (`Turns`). `columns` holds all other
    columns of the row; they reach reward functions by name.
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
    where: str = field(default="", compare=False)  # "data.jsonl:17", for what is said about it


def named(example: Example, otherwise: object = "") -> str:
    """An example for a message: where it stands, else its id, else what the caller calls it."""
    return example.where or f"example {example.id or otherwise!r}"


def asked(task: Task, split: Split, n: int | None, seed: int, otherwise: int) -> Sequence[Example]:
    """The first n items of a split. Unless n is given, all rows of a data set, and `otherwise` items of a task that
    makes them as they are asked for."""
    size = getattr(task, "size", None)
    return task.examples(split, (size(split) if size else otherwise) if n is None else n, seed)


def place(example: Example) -> str:
    """The row's file and line, or its id; empty where it has neither."""
    return named(example) if example.where or example.id else ""


@contextmanager
def located(where: str) -> Iterator[None]:
    """Says where a row stands in what is raised about it."""
    try:
        yield
    except ValueError as error:
        raise error if not where or str(error).startswith(where) else ValueError(f"{where}: {error}") from error


def answered(example: Example) -> tuple[Prompt, str]:
    """The prompt and the target text: the completion, else the answer; of a conversation the last assistant turn, or
    its tool calls as JSON. The text is empty where there is none."""
    if example.messages is None:
        return example.prompt, example.completion or example.answer or ""
    last = max((i for i, turn in enumerate(example.messages) if turn["role"] == "assistant"), default=0)
    turn = example.messages[last] if last else {}
    said = turn.get("content") or (json.dumps(turn["tool_calls"], ensure_ascii=False) if turn.get("tool_calls") else "")
    return like(example.messages, example.messages[:last]), said


class Task(Protocol):
    """Prompts with a verifier. Item i of a split depends only on (split, seed, i)."""

    name: str

    def examples(self, split: Split, n: int, seed: int = 0) -> Sequence[Example]:
        """The first n items of the split; fewer where the task has no more. Splits never meet."""
        ...

    def score(self, completion: str, example: Example) -> float:
        """The verifier's score in [0, 1]; 1.0 counts as solved, and the example's own answer scores 1.0."""
        ...
