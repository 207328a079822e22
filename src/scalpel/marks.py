"""Marks: what a sample earned, and what was said of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Marks(list[float]):
    """The rewards of a sample, one of each function, and the words that came with them: a verifier's, an interpreter's,
    or what a user's function logs as `log_extra("feedback", words)`."""

    def __init__(self, rewards: Iterable[float], words: str = "") -> None:
        super().__init__(rewards)
        self.words = words


def said(rewards: Sequence[float]) -> str:
    """The words that came with rewards; empty where nothing was said."""
    return rewards.words if isinstance(rewards, Marks) else ""
