"""The interface of a probe, and its result on one item."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self

from scalpel.data.example import Example, Prompt, answered

if TYPE_CHECKING:
    from scalpel.engine import Engine, Sample

Role = Literal["target", "keep"]  # the skill that is taught, or an old ability that is to be kept


class Answer(NamedTuple):
    """The text of a sample, and whether `max_tokens` ended it."""

    text: str
    cut_off: bool


def answer_of(engine: Engine, sample: Sample) -> Answer:
    return Answer(engine.tokens.text(sample.ids), not sample.finished)


@dataclass(frozen=True)
class ItemResult:
    """The result of one item under one model.

    `right` is None where a probe has no right and wrong (drift, given text). `value` is in the probe's unit: the
    log-probability of the right answer, or the KL divergence from the base. `unread`: the verifier found no answer in
    the output, so the item counts as wrong, though the model may know it. `cut_off`: `max_tokens` ended the output.
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
    """A fixed set of items and a way to measure a model on them; the same items before and after training."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def kind(self) -> str: ...
    @property
    def unit(self) -> str: ...

    def run(self, engine: Engine, reference: Engine | None = None) -> list[ItemResult]:
        """The result of every item under this model. `reference` is the base, for probes that compare with it."""
        ...

    def only(self, ids: Collection[str]) -> Self:
        """The same probe on some of its items."""
        ...

    def questions(self) -> Iterable[Hashable]:
        """What each item asks: keep sets leave these out. See `question`."""
        ...


def prompt_text(prompt: Prompt) -> str:
    """A prompt as text for a reader: text unchanged, messages as `role: content` lines."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def question(example: Example) -> str:
    """What an example asks, as text; where it asks nothing, the text itself."""
    asked, text = answered(example)
    return prompt_text(asked) or text


def distinct(name: str, ids: Sequence[str]) -> None:
    """Raises ValueError for a probe without items, or with two items of one id: the ledger pairs items by id."""
    if not ids:
        raise ValueError(f"probe {name!r} has no items; give it a task or a file that has some")
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise ValueError(f"probe {name!r} has two items with id {id!r}; ids must be unique within a probe")
        seen.add(id)


def chosen(name: str, examples: Sequence[Example], ids: Collection[str] | None) -> list[Example]:
    """The examples of a probe with these ids; all where `ids` is None. Raises ValueError for ids that aren't unique."""
    distinct(name, [example.id for example in examples])
    return [example for example in examples if ids is None or example.id in ids]
