"""The interface of a keep set, and the items that it may use: those that the ledger doesn't measure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Sequence
from typing import TypeVar

from scalpel.data.example import Example, Task, items_of
from scalpel.engine import Engine
from scalpel.evaluation.probes.item import question

Row = tuple[list[int], list[int]]
Item = TypeVar("Item")


class Ability(ABC):
    """One keep set: something that the base can do, as items of one or more units, each right or wrong."""

    name: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def flags(self, engine: Engine, chosen: Sequence[int]) -> list[list[bool]]:
        """For each chosen item, which of its units the model gets right."""

    def known(self, base: Engine) -> list[list[bool]]:
        """For each item, which of its units are to be kept: those that the base gets right."""
        return self.flags(base, range(len(self)))


def examples_of(name: str, task: Task, n: int | None, seed: int, measured: Collection[Hashable]) -> list[Example]:
    """The items of the task's split `keep`, without the questions `measured` that the ledger's probes ask."""
    examples = items_of(task, "keep", n, seed, 256)
    if not examples:
        raise ValueError(f"keep set {name!r}: its task has no items in the split 'keep': give it a share, or a file")
    return unmeasured(name, [example for example in examples if question(example) not in measured])


def unmeasured(name: str, items: list[Item]) -> list[Item]:
    """The items, if any are left without those of the ledger; raises ValueError otherwise."""
    if not items:
        raise ValueError(f"keep set {name!r} has no items but those that the ledger measures: add other items")
    return items
