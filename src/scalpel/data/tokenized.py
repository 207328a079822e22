"""Tokenized: an example as tokens, each marked as trained or not, and what is done when it is too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Policy = Literal["error", "drop", "keep_start", "keep_end"]


@dataclass(frozen=True)
class Tokenized:
    """The tokens of one sequence. `turn` counts assistant turns: the first answer and all before it are turn 0."""

    ids: list[int]
    train: list[bool]
    turn: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def trained(self) -> int:
        """How many tokens carry loss; a first token has nothing before it and never does."""
        return sum(self.train[1:])


def laid(pieces: Sequence[tuple[list[int], bool]]) -> Tokenized:
    """Untrained and trained stretches end to end; a turn ends with a trained one."""
    ids: list[int] = []
    train: list[bool] = []
    turn: list[int] = []
    k = 0
    for new, trained in pieces:
        ids += new
        train += [trained] * len(new)
        turn += [k] * len(new)
        k += trained
    return Tokenized(ids, train, turn)


def truncate(rendered: Tokenized, max_length: int, policy: Policy = "error") -> Tokenized | None:
    """At most `max_length` tokens, or None if it is dropped: by the policy, or since no trained token is left."""
    if policy not in get_args(Policy):
        raise ValueError(f"unknown truncation {policy!r}: known are {', '.join(get_args(Policy))}")
    if max_length < 2:
        raise ValueError(f"max_length {max_length} leaves no token to train: a first token never is; take 2 or more")
    if len(rendered) <= max_length:
        return rendered if rendered.trained else None
    if policy == "error":
        raise ValueError(
            f"an example has {len(rendered)} tokens and max_length is {max_length}: raise max_length (up to the "
            "model's context), or set truncation to 'drop', 'keep_start' or 'keep_end'"
        )
    if policy == "drop":
        return None
    kept = slice(max_length) if policy == "keep_start" else slice(-max_length, None)
    short = Tokenized(rendered.ids[kept], rendered.train[kept], rendered.turn[kept])
    return short if short.trained else None
