"""Scores of samples: rewards, textual feedback, and whether a verifier could read an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf, nan


class Unread(float):
    """The score of a verifier that found no answer it could parse. As a number it is 0, like a wrong answer, but it is
    counted separately, since the answer may have been correct."""

    def __repr__(self) -> str:
        return "unread"


UNREAD = Unread(0.0)


def unread(score: object) -> bool:
    """Whether a score is `UNREAD`."""
    return isinstance(score, Unread)


class SampleRewards(list[float]):
    """The rewards of a sample, one per function, with its textual feedback, and whether a verifier found no answer.

    The feedback comes from the task, or from a user's function through `log_extra("feedback", words)`.
    """

    def __init__(self, rewards: Iterable[float], words: str = "", unread: bool = False) -> None:
        super().__init__(rewards)
        self.words, self.unread = words, unread


def said(rewards: Sequence[float]) -> str:
    """The textual feedback that came with rewards; empty if there is none."""
    return rewards.words if isinstance(rewards, SampleRewards) else ""


def total(rewards: Sequence[float]) -> float:
    """The sum of the rewards that apply (are not NaN); NaN if none applies. NaN compares false with any threshold, so
    such a sample counts neither as passed nor as failed."""
    applied = [r for r in rewards if r == r]
    return sum(applied) if applied else nan


def worth(rewards: Sequence[float]) -> float:
    """The total as a sort key: a sample that no reward applies to ranks below all others."""
    earned = total(rewards)
    return earned if earned == earned else -inf
