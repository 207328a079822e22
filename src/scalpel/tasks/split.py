"""The split of a row, by a fixed hash of its content, so that equal content is never in two splits."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from scalpel.data.example import SPLITS, Split

SHARES: dict[Split, float] = {"train": 0.7, "tune": 0.1, "keep": 0.1, "test": 0.1}


def digest(content: str) -> str:
    """A hash of 48 bits in hexadecimal, the same in every process and on every machine, unlike Python's own hash."""
    return blake2b(content.encode(), digest_size=6).hexdigest()


def split_of(content: str, shares: dict[Split, float] = SHARES) -> Split:
    """The split in whose interval the content's hash falls, when [0, 1) is divided by the shares."""
    return split_at(int(digest(content), 16), shares)


def split_at(number: int, shares: dict[Split, float] = SHARES) -> Split:
    """The same for a digest as a number."""
    at = number / 2**48 * sum(shares.values())
    for split in SPLITS:
        at -= shares.get(split, 0.0)
        if at < 0:
            return split
    return max(shares, key=lambda s: shares[s])  # reached only by rounding


def checked_shares(shares: Mapping[Any, float]) -> dict[Split, float]:
    """The user's shares, or ValueError."""
    if strange := sorted(set(shares) - set(SPLITS)):
        raise ValueError(f"shares names {', '.join(strange)}: the splits are {', '.join(SPLITS)}")
    if any(not isinstance(x, int | float) or x < 0 for x in shares.values()) or sum(shares.values()) <= 0:
        raise ValueError(f"shares are {shares}: they must be numbers of 0 or more, and not all 0")
    return {split: float(shares.get(split, 0.0)) for split in SPLITS}
