"""The limit on a sequence's length, and counts of the rows that it truncates or drops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scalpel.data.example import Example, named
from scalpel.data.tokenized import Policy, Tokenized, truncate


@dataclass(frozen=True)
class Limit:
    """The maximal length of a sequence, the setting that it comes from, and the truncation policy."""

    room: int
    name: str  # "max_length is 512"
    policy: Policy

    def cut(self, rendered: Tokenized, example: Example | None = None) -> Tokenized | None:
        """The truncated row, or None if it is dropped. Raises ValueError that names it under the policy "error"."""
        if self.policy == "error" and len(rendered) > self.room:
            raise ValueError(
                f"{named(example) if example else 'a sequence'} has {len(rendered):,} tokens, and {self.name}: raise "
                "max_length (up to the model's context), shorten or remove the row, or set truncation to 'drop', "
                "'keep_start' or 'keep_end'"
            )
        return truncate(rendered, self.room, self.policy)


@dataclass
class Some:
    """A number of rows, with the place of the first of them."""

    count: int = 0
    first: str = ""

    def note(self, where: str) -> None:
        self.count, self.first = self.count + 1, self.first or where


@dataclass
class Lengths:
    """Counts of the rows of one stream under the stage's length limit."""

    limit: Limit
    rows: int = 0  # sequences looked at
    of: int = 0  # examples that the stream has
    seen: int = 0  # examples looked at
    trained: int = 0  # tokens
    longest: int = 0
    shortened: Some = field(default_factory=Some)
    dropped: Some = field(default_factory=Some)  # too long, or cut so that nothing to train was left
    silent: Some = field(default_factory=Some)  # nothing to train in the row as it was given
    _known: set[int] = field(default_factory=set)

    def fit(self, rendered: Tokenized, example: Example | None = None) -> Tokenized | None:
        """Truncates a row as the run will, and counts it."""
        found = self.limit.cut(rendered, example)
        where = named(example) if example else f"sequence {self.rows + 1}"
        self.rows, self.longest = self.rows + 1, max(self.longest, len(rendered))
        self.trained += found.trained if found else 0
        if not rendered.trained:
            self.silent.note(where)
        elif found is None:
            self.dropped.note(where)
        elif len(found) < len(rendered):
            self.shortened.note(where)
        return found

    @property
    def words(self) -> str:
        """The sentence about truncated, dropped and untrained rows; empty if there are none."""
        ends = {"keep_start": "only their beginning is kept", "keep_end": "prompts lose their beginning"}
        parts = []
        if self.shortened.count:
            how, some = ends[self.limit.policy], self.shortened
            parts.append(f"{some.count:,} of {self.rows:,} sequences are shortened, and {how} (first {some.first})")
        if self.dropped.count:
            why = "for their length" if self.limit.policy == "drop" else "since nothing to train is left of them"
            parts.append(f"{self.dropped.count:,} of {self.rows:,} are dropped {why} (first {self.dropped.first})")
        if parts:
            parts[0] = f"{self.limit.name}, truncation is {self.limit.policy!r}: {parts[0]}"
        if self.silent.count:
            parts.append(f"{self.silent.count:,} have nothing to train (first {self.silent.first})")
        if self.seen < self.of:
            parts.append(f"the first {self.seen:,} of {self.of:,} rows were looked at, the others are as they come")
        return "; ".join(parts)

    def refuse_nothing(self) -> None:
        """Raises ValueError where no token of any row would be trained."""
        if self.trained or not self.rows:
            return
        if self.dropped.count:
            why = (
                f"{self.limit.name} and truncation {self.limit.policy!r}, which leaves none of {self.dropped.count:,} "
                f"rows anything to train (first {self.dropped.first}; the longest has {self.longest:,} tokens): raise "
                "max_length"
            )
        else:
            why = (
                f"no token of {self.rows:,} rows is marked as trained (first {self.silent.first}): give each a "
                "completion or an assistant turn"
            )
        raise ValueError(f"there is nothing to train on: {why}")

    def state(self) -> dict[str, Any]:
        counted = {name: vars(getattr(self, name)) for name in ("shortened", "dropped", "silent")}
        return {"limit": self.limit.name, "truncation": self.limit.policy, "sequences": self.rows,
                "tokens_trained": self.trained, "longest": self.longest, **counted}  # fmt: skip
