"""Marks: what a sample earned, what was said of it, and whether anything could be read in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf, nan


class Unread(float):
    """A verifier's score, 0, where it found nothing that could be read as an answer: not right, and not known to be
    wrong either. As a number it is what it is for a wrong answer."""

    def __repr__(self) -> str:
        return "unread"


UNREAD = Unread(0.0)


def unread(score: object) -> bool:
    """Whether a verifier's score says that there was nothing to read."""
    return isinstance(score, Unread)


class SampleRewards(list[float]):
    """The rewards of a sample, one of each function, and the words that came with them: a verifier's, an interpreter's,
    or what a user's function logs as `log_extra("feedback", words)`; and whether a verifier found nothing to read."""

    def __init__(self, rewards: Iterable[float], words: str = "", unread: bool = False) -> None:
        super().__init__(rewards)
        self.words, self.unread = words, unread


def said(rewards: Sequence[float]) -> str:
    """The words that came with rewards; empty where nothing was said."""
    return rewards.words if isinstance(rewards, SampleRewards) else ""


def total(rewards: Sequence[float]) -> float:
    """The sum of the rewards that apply, which aren't NaN; NaN where none does: the sample is not rewarded, and below
    no threshold either."""
    applied = [r for r in rewards if r == r]
    return sum(applied) if applied else nan


def worth(rewards: Sequence[float]) -> float:
    """The total for comparing samples: one that nothing rewarded comes after all others."""
    earned = total(rewards)
    return earned if earned == earned else -inf
