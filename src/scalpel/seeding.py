"""Seeds derived from their purpose, and the seeded order in which examples come."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import torch


def derive(*parts: Any) -> int:
    """A seed that depends on all of `parts` and on nothing else, the same in every process."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 2


@lru_cache(maxsize=8)
def permutation(n: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(derive("order", seed, epoch) % 2**63)
    return torch.randperm(n, generator=generator).tolist()


def window(items: Sequence[Any], step: int, size: int, seed: int) -> list[Any]:
    """Items step·size … step·size + size − 1 of an endless sequence of seeded shuffles. It keeps no state, so
    a resumed run goes on where it stopped."""
    places = range(step * size, (step + 1) * size)
    return [items[permutation(len(items), seed, place // len(items))[place % len(items)]] for place in places]


def others(items: Sequence[Any], chosen: Sequence[Any], seed: int, at: int, n: int) -> list[Any]:
    """n items from place `at` on of a seeded shuffle of those that are not among the chosen."""
    taken = {id(item) for item in chosen}
    left = [items[place] for place in permutation(len(items), seed, 0) if id(items[place]) not in taken]
    return left[at : at + n]
