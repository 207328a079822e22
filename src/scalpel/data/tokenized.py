"""Tokenized: an example as token ids with a loss mask, and truncation to a maximum length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Policy = Literal["error", "drop", "keep_start", "keep_end"]


@dataclass(frozen=True)
class Tokenized:
    """The tokens of one sequence and their loss mask `train`. `turn` numbers assistant turns: the first answer and all
    tokens before it are turn 0."""

    ids: list[int]
    train: list[bool]
    turn: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def trained(self) -> int:
        """The number of tokens with a loss. The first token has no context to be predicted from, so it never has
        one."""
        return sum(self.train[1:])


def joined(pieces: Sequence[tuple[list[int], bool]]) -> Tokenized:
    """Concatenates pieces of (ids, trained). A trained piece ends its turn."""
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
    """The sequence with at most `max_length` tokens; None if it is dropped, by the policy or because no trained token
    is left."""
    if policy not in get_args(Policy):
        raise ValueError(f"unknown truncation {policy!r}: known are {', '.join(get_args(Policy))}")
    if max_length < 2:
        raise ValueError(f"max_length {max_length} leaves no token to train, since the first never is: set 2 or more")
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
