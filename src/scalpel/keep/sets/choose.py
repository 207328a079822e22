"""Minimal pairs and multiple choices: the right choice must stay the likeliest. Scored as the probe `choose` does."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

from scalpel.binding.bounds import Count, Seed
from scalpel.engine import Engine
from scalpel.evaluation.probes.choose import Choices, Choose, drawn
from scalpel.keep.sets.ability import Ability, unmeasured
from scalpel.registry import register


@dataclass(frozen=True)
class Pairs(Ability):
    """Choices by log-probability; a unit is an item."""

    name: str
    probe: Choose

    def __len__(self) -> int:
        return len(self.probe.items)

    def flags(self, engine: Engine, chosen: Sequence[int]) -> list[list[bool]]:
        ids = [self.probe.items[i].id for i in chosen]
        right = {result.id: bool(result.right) for result in self.probe.only(ids).run(engine)}
        return [[right[id]] for id in ids]


@register("keep set", "choose")
def choose(
    name: str,
    measured: Collection[Hashable],
    *,
    path: Choices,
    n: Count | None = None,
    seed: Seed = 0,
    normalise: bool = False,
) -> Pairs:
    """A minimal pair or multiple choice of a JSONL file is kept while the right choice is the likeliest."""
    items = unmeasured(name, [item for item in path if item.question not in measured])
    return Pairs(name, Choose(name, drawn(items, n, seed), normalise))
