"""Log messages about rows, each logged once with the number of rows that it applies to."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("scalpel")


class Notes:
    """Remarks about rows. Each is logged at its first row, or at the end of a survey of the data, with their number.

    A remark is a text with the fields {n}, the number of rows, {m}, the sum of their amounts, and {first}, the place of
    the first one.
    """

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.amounts: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.last: dict[str, str] = {}
        self.said: set[str] = set()
        self.where = ""  # the place of the current row
        self.surveying = False

    def add(self, remark: str, amount: int = 0) -> None:
        if self.where and self.last.get(remark) == self.where:
            return  # a row counts once, however often it is rendered
        self.last[remark] = self.where
        self.rows[remark] += 1
        self.amounts[remark] += amount
        self.first.setdefault(remark, self.where)
        if not self.surveying:
            self.say(remark)

    def say(self, remark: str) -> None:
        if remark in self.said:
            return
        self.said.add(remark)
        first = f" (first: {self.first[remark]})" if self.first[remark] else ""
        words = remark.replace("{n}", f"{self.rows[remark]:,}").replace("{m}", f"{self.amounts[remark]:,}")
        log.info("%s", words.replace("{first}", first))

    @contextmanager
    def at(self, where: str) -> Iterator[None]:
        """Within it, remarks are counted for this row."""
        before, self.where = self.where, where
        try:
            yield
        finally:
            self.where = before

    @contextmanager
    def survey(self) -> Iterator[None]:
        """Within it, remarks are counted; at the end they are logged."""
        self.surveying = True
        try:
            yield
        finally:
            self.surveying = False
            for remark in self.rows:
                self.say(remark)
