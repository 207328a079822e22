"""Seeds derived from their purpose, and the seeded order of examples."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from typing import Any

import torch


def derive(*parts: Any) -> int:
    """A seed that depends on all of `parts` and on nothing else, the same in every process."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 2


@lru_cache(maxsize=8)
def permutation(n: int, seed: int, epoch: int) -> array:
    """The positions 0 … n − 1 in a seeded order."""
    generator = torch.Generator().manual_seed(derive("order", seed, epoch) % 2**63)
    return array("q", torch.randperm(n, generator=generator).numpy().tobytes())


def window(items: Sequence[Any], step: int, size: int, seed: int) -> list[Any]:
    """Items step·size … step·size + size − 1 of an endless sequence of seeded shuffles. It keeps no state, so
    a resumed run goes on where it stopped."""
    return [items[place] for place in places(len(items), step, size, seed)]


def places(n: int, step: int, size: int, seed: int) -> list[int]:
    """Where the items of a `window` stand among n."""
    return [permutation(n, seed, k // n)[k % n] for k in range(step * size, (step + 1) * size)]


def others(items: Sequence[Any], chosen: Collection[int], seed: int, at: int, n: int) -> list[Any]:
    """n items from place `at` on of a seeded shuffle of those that don't stand at the chosen places."""
    taken = set(chosen)
    left = (place for place in permutation(len(items), seed, 0) if place not in taken)
    return [items[place] for place in islice(left, at, at + n)]
