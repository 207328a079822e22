"""The split of a row, by a fixed hash of its content.

A random permutation would put duplicates of a question into different splits, and would reshuffle every split when a
row is added or the file is reordered. With a hash, equal content is always in the same split, and the split of a row
depends on nothing but the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from scalpel.data.example import SPLITS, Split

SHARES: dict[Split, float] = {"train": 0.7, "tune": 0.1, "keep": 0.1, "test": 0.1}


def digest(content: str) -> str:
    """A hash of 48 bits in hexadecimal. Python's own `hash` would differ between processes.

    Among a million rows the probability of any collision is about 0.2%. It would put two different questions into the
    same split, which is harmless; where equality matters, the questions themselves are compared.
    """
    return blake2b(content.encode(), digest_size=6).hexdigest()


def split_of(content: str, shares: dict[Split, float] = SHARES) -> Split:
    """The split of a content. The shares divide [0, 1) into intervals, in the order of `SPLITS`, and the hash falls
    into one of them. `test` is the last interval, so its rows stay the same when the others divide the rest
    differently."""
    return split_at(int(digest(content), 16), shares)


def split_at(number: int, shares: dict[Split, float] = SHARES) -> Split:
    """The split for a digest as an integer below 2⁴⁸."""
    at = number / 2**48 * sum(shares.values())
    for split in SPLITS:
        at -= shares.get(split, 0.0)
        if at < 0:
            return split
    return max(shares, key=lambda s: shares[s])  # only if the shares' sum was rounded


def checked_shares(shares: Mapping[Any, float]) -> dict[Split, float]:
    """The user's shares, checked, with 0 for splits that are not named."""
    if strange := sorted(set(shares) - set(SPLITS)):
        raise ValueError(f"shares names {', '.join(strange)}: the splits are {', '.join(SPLITS)}")
    if any(not isinstance(x, int | float) or x < 0 for x in shares.values()) or sum(shares.values()) <= 0:
        raise ValueError(f"shares are {shares}: they must be numbers of 0 or more, and at least one above 0")
    return {split: float(shares.get(split, 0.0)) for split in SPLITS}
