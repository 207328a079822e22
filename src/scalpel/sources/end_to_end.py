"""Batches put end to end, their sequences, groups and episodes numbered through."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from scalpel.sources.replayed_groups import KEPT

NUMBERED = ("seq_N", "group_S", "episode_S")  # fields that hold numbers, which begin anew in every batch


def numbers_of(table: Mapping[str, Tensor], name: str) -> Tensor:
    """One of its `NUMBERED` fields without gaps. Without `episode_S` each sequence is an episode of its own."""
    found = table.get(name, torch.arange(len(table["group_S"])))
    return torch.unique(found, return_inverse=True)[1]


def end_to_end(tables: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The fields of several batches, end to end, with sequences, groups and episodes numbered through."""
    names = [name for name in KEPT if any(name in table for table in tables)]
    made: dict[str, list[Tensor]] = {name: [] for name in names}
    before = dict.fromkeys(NUMBERED, 0)
    for table in tables:
        numbers = {name: numbers_of(table, name) + before[name] for name in NUMBERED}
        for name, found in made.items():
            found.append(numbers[name] if name in numbers else table[name])
        before = {name: int(x.max()) + 1 for name, x in numbers.items()}
    return {name: torch.cat(found) for name, found in made.items()}
