"""The split that a piece of content belongs to: a fixed hash of the content, independent of the seed.

Content is the word to reverse, the operands of a sum, the pair of person and attribute. The same content is always in
the same split, so the splits train, tune, keep and test are disjoint. crc32 is used because Python's own hash of a
string differs between processes.
"""

from __future__ import annotations

from zlib import crc32

from scalpel.data.example import Split

SHARES: tuple[tuple[Split, int], ...] = (("train", 70), ("tune", 10), ("keep", 10), ("test", 10))  # percent
BY_PERCENT: tuple[Split, ...] = tuple(split for split, share in SHARES for _ in range(share))


def split_of(family: str, key: str) -> Split:
    """The split of `key` among the contents of `family`."""
    return BY_PERCENT[crc32(f"{family}:{key}".encode()) % 100]
