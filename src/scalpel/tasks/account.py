"""Accounts of data sources: the number of rows, and how many were left out for each reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Left:
    """Rows that were left out for one reason."""

    count: int
    first: str  # the place of the first of them


@dataclass
class Account:
    """The rows of one source."""

    given: int = 0
    left_out: dict[str, Left] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)  # the number of rows of each split, without those left out

    @property
    def readable(self) -> int:
        return self.given - sum(left.count for left in self.left_out.values())

    def leave_out(self, reason: str, where: str, count: int = 1) -> None:
        self.left_out.setdefault(reason, Left(0, where)).count += count

    def state(self) -> dict[str, Any]:
        """As plain values."""
        left = {reason: {"count": x.count, "first": x.first} for reason, x in self.left_out.items()}
        return {"given": self.given, "readable": self.readable, "left_out": left, "splits": dict(self.splits)}

    def words(self) -> str:
        """`1,000 rows: 902 train, 98 test; 3 left out: …`"""
        parts = ", ".join(f"{n:,} {split}" for split, n in self.splits.items() if n)
        lost = [f"{x.count:,} left out: {reason}, first {x.first}" for reason, x in self.left_out.items()]
        return "; ".join([f"{self.given:,} rows" + (f": {parts}" if parts else ""), *lost])


def total(accounts: Mapping[str, Account]) -> Account:
    """The sum of several accounts."""
    found = Account()
    for account in accounts.values():
        found.given += account.given
        for reason, left in account.left_out.items():
            found.leave_out(reason, left.first, left.count)
    return found
