"""The record of drawing a step's batches, and the rewards of trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scalpel.data.example import Example, Message
from scalpel.data.tokenizer import Tokens
from scalpel.data.trajectory import Trajectory
from scalpel.environments.episodes import shares
from scalpel.rewards import Early, Rewards, Scored, TrainerState
from scalpel.training.completions import completion_rows
from scalpel.training.sample_shares import SampleShares


@dataclass
class StepRecord:
    """Numbers that were logged or counted, shares of samples that couldn't be judged, and some completions with their
    rewards."""

    numbers: dict[str, float] = field(default_factory=dict)
    samples: SampleShares = field(default_factory=SampleShares)
    completions: list[dict[str, Any]] = field(default_factory=list)

    def count(self, name: str) -> None:
        self.numbers[name] = self.numbers.get(name, 0.0) + 1.0

    def note(self, judged: Judged, most: int) -> None:
        """The rewards of a step's trajectories; those of the first `most` examples go into the table of completions."""
        self.samples.note(judged.scored, judged.cut_off)
        self.numbers |= {**judged.scored.metrics, **self.samples.shares, **judged.episodes}
        self.completions += completion_rows(
            judged.examples, judged.texts, judged.scored, judged.cut_off, judged.groups, most, judged.messages
        )


@dataclass(frozen=True)
class Judged:
    """Trajectories with their rewards, one entry for each: the example, what was said last, the number of its group."""

    examples: list[Example]
    texts: list[str]
    groups: list[int]
    cut_off: list[bool]
    scored: Scored
    episodes: dict[str, float]
    messages: Sequence[Sequence[Message]]

    def by_group(self, samples: Sequence[Sequence[Trajectory]]) -> list[list[list[float]]]:
        """The rewards as the trajectories came: of each example, of each of its trajectories."""
        flat = iter(self.scored.marks)
        return [[next(flat) for _ in group] for group in samples]


def judged(
    tokens: Tokens,
    rewards: Rewards,
    state: TrainerState,
    examples: Sequence[Example],
    samples: Sequence[Sequence[Trajectory]],
    trial: bool = False,
    early: Early | None = None,
) -> Judged:
    """The weighted rewards of each trajectory of each example. Verifiers judge what was said last."""
    groups = [g for g, group in enumerate(samples) for _ in group]
    rows = [sample for group in samples for sample in group]
    asked, texts = [examples[g] for g in groups], said(tokens, rows)
    played = spoken(rows, texts)
    scored = rewards(asked, texts, [t.ids for t in rows], state, trial, early, groups, played)
    several = shares(rows) if any(t.messages for t in rows) else {}
    messages = [t.messages for t in rows]
    return Judged(asked, texts, groups, [not t.finished for t in rows], scored, several, messages)


def said(tokens: Tokens, trajectories: Sequence[Trajectory]) -> list[str]:
    """The text of what was said last in each."""
    return [tokens.text(trajectory.answer_ids) for trajectory in trajectories]


def spoken(trajectories: Sequence[Trajectory], texts: Sequence[str]) -> list[Trajectory]:
    """The trajectories with their messages: those of single completions are made here, where a text is known."""
    return [
        t if t.messages else replace(t, messages=({"role": "assistant", "content": text},))
        for t, text in zip(trajectories, texts, strict=True)
    ]


def ask_early(tokens: Tokens, early: Early, examples: Sequence[Example], p: int, samples: Sequence[Trajectory]) -> None:
    """Starts the early rewards of the samples of prompt p."""
    texts = said(tokens, samples)
    early.ask(p, examples[p], texts, spoken(samples, texts))
