"""What a probe is, and what it says about one item."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self

from scalpel.data.example import Example, Prompt

if TYPE_CHECKING:
    from scalpel.engine import Engine, Sample

Role = Literal["target", "keep"]  # the skill being taught, or something that must not be lost


class Said(NamedTuple):
    """What a model wrote, and whether the limit on tokens ended it."""

    text: str
    cut_off: bool


def said(engine: Engine, sample: Sample) -> Said:
    return Said(engine.tokens.text(sample.ids), not sample.finished)


@dataclass(frozen=True)
class ItemResult:
    """One item under one model.

    `right` is None where a probe has no right and wrong (drift, given text). `value` is in the
    probe's unit: the log-probability of the right answer, or the KL to the base. `unread`: nothing in the
    output reads as an answer, so it isn't right, and not known to be wrong either; `cut_off`: the limit on
    tokens ended it.
    """

    id: str
    right: bool | None
    value: float | None
    output: str
    prompt: str
    answer: str = ""
    unread: bool = False
    cut_off: bool = False


class Probe(Protocol):
    """A fixed set of items and one way to look at them; the same items before and after."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def kind(self) -> str: ...
    @property
    def unit(self) -> str: ...

    def run(self, engine: Engine, reference: Engine | None = None) -> list[ItemResult]:
        """Every item under this engine; `reference` is the base, where the probe compares with it."""
        ...

    def only(self, ids: Collection[str]) -> Self:
        """The same probe on some of its items."""
        ...


def shown(prompt: Prompt) -> str:
    """A prompt as a reader sees it: text as it stands, messages as `role: content` lines."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def distinct(name: str, ids: Sequence[str]) -> None:
    """Refuses a probe without items, or with two items of one id: the ledger pairs items by id."""
    if not ids:
        raise ValueError(f"probe {name!r} has no items; give it a task or a file that has some")
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise ValueError(f"probe {name!r} has two items with id {id!r}; ids must be unique within a probe")
        seen.add(id)


def chosen(name: str, examples: Sequence[Example], ids: Collection[str] | None) -> list[Example]:
    """Those of a probe's examples that are wanted; all where no ids are named."""
    distinct(name, [example.id for example in examples])
    return [example for example in examples if ids is None or example.id in ids]
