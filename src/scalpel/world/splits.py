"""Which split a piece of content belongs to: a fixed hash of the content, whatever the seed.

The word to reverse, the operands of a sum, the pair of person and attribute: the same content is always in the same
split, so training, tuning, keeping and testing never meet.
"""

from __future__ import annotations

from zlib import crc32

from scalpel.data.example import Split

SHARES: tuple[tuple[Split, int], ...] = (("train", 70), ("tune", 10), ("keep", 10), ("test", 10))  # percent
BY_PERCENT: tuple[Split, ...] = tuple(split for split, share in SHARES for _ in range(share))


def split_of(family: str, key: str) -> Split:
    """The split of `key` among the contents of `family`."""
    return BY_PERCENT[crc32(f"{family}:{key}".encode()) % 100]
