"""Trajectory: what a policy produced in an episode, as token ids that are never tokenised again.

An episode is a prompt, a turn of the policy, the environment's reply, the next turn, and so on. A completion is a
trajectory with a single policy segment. Sampled ids are kept: decoding and encoding them again may give other ids, to
which the sampler's log-probs don't belong, so that importance ratios would be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scalpel.batch import DEMONSTRATION, POLICY
from scalpel.data.example import Message

# why a policy segment ended: stop token or stop string; token limit; context full; max_turns
StopReason = Literal["", "stop", "length", "context", "turns"]
SPOKEN = frozenset({POLICY, DEMONSTRATION})  # authors of text in assistant turns


@dataclass(frozen=True)
class Segment:
    """Consecutive tokens of one author.

    `logps` are the log-probs of the distribution that sampled them, at `temperature`, and empty if the segment was not
    sampled; `reward` is the environment's reward for it. With `anew`, the ids are a complete prompt that starts a new
    sequence, since the chat template rendered earlier turns differently.
    """

    author: int
    ids: tuple[int, ...]
    logps: tuple[float, ...] = ()
    reward: float = 0.0
    stop_reason: StopReason = ""
    anew: bool = False
    temperature: float = 1.0

    def __post_init__(self) -> None:
        assert len(self.logps) in (0, len(self.ids)), f"{len(self.logps)} log-probs for {len(self.ids)} ids"

    @property
    def behaviour(self) -> tuple[float, ...]:
        """The log-probs at sampling; 0 if the segment was not sampled."""
        return self.logps or (0.0,) * len(self.ids)


@dataclass(frozen=True)
class Sequenced:
    """One sequence of a trajectory: a prompt and the segments after it. `turn` is the number of assistant turns before
    those of this sequence."""

    prompt_ids: tuple[int, ...]
    segments: tuple[Segment, ...]
    turn: int = 0

    @property
    def ids(self) -> list[int]:
        return [i for s in self.segments for i in s.ids]

    @property
    def authors(self) -> list[int]:
        return [s.author for s in self.segments for _ in s.ids]

    @property
    def behaviour(self) -> list[float]:
        return [x for s in self.segments for x in s.behaviour]

    @property
    def temperatures(self) -> list[float] | None:
        """The temperature at which each id was sampled, 1 where it was not; None where it is 1 throughout."""
        if all(s.temperature == 1 for s in self.segments):
            return None
        return [s.temperature for s in self.segments for _ in s.ids]

    @property
    def turns(self) -> list[int]:
        """The number of the assistant turn that each id belongs to or leads to."""
        found: list[int] = []
        turn, spoken = self.turn, False
        for s in self.segments:
            mine = s.author in SPOKEN
            turn, spoken = turn + (spoken and not mine), mine
            found += [turn] * len(s.ids)
        return found


@dataclass(frozen=True)
class Trajectory:
    """An episode: the ids of its prompt, the segments behind it, and the messages that these stand for."""

    prompt_ids: tuple[int, ...]
    segments: tuple[Segment, ...]
    messages: tuple[Message, ...] = ()

    @property
    def policy(self) -> list[Segment]:
        """What the policy sampled, turn by turn."""
        return [s for s in self.segments if s.author == POLICY]

    @property
    def ids(self) -> list[int]:
        """All ids behind the prompt, those of the environment included; prompts that were rendered anew are not."""
        return [i for s in self.segments if not s.anew for i in s.ids]

    @property
    def behaviour(self) -> list[float]:
        """For each of `ids` the log-prob with which it was sampled, 0 where it was not."""
        return [x for s in self.segments if not s.anew for x in s.behaviour]

    @property
    def policy_ids(self) -> list[int]:
        return [i for s in self.policy for i in s.ids]

    @property
    def spoken_ids(self) -> list[int]:
        """The ids of all assistant turns, sampled or given."""
        return [i for s in self.segments if s.author in SPOKEN for i in s.ids]

    @property
    def answer_ids(self) -> list[int]:
        """The ids of the last assistant turn, including a given beginning: what a verifier scores."""
        last: list[int] = []
        for s in reversed(self.segments):
            if s.author not in SPOKEN:
                break
            last[:0] = s.ids
        return last

    @property
    def reward(self) -> float:
        """The sum of the environment's rewards."""
        return sum(s.reward for s in self.segments)

    @property
    def stop_reason(self) -> StopReason:
        """The stop reason of the last segment."""
        return self.segments[-1].stop_reason if self.segments else ""

    @property
    def finished(self) -> bool:
        """Whether the last turn was not cut off by a token limit."""
        return self.stop_reason in ("stop", "turns")

    def sequences(self) -> Iterator[Sequenced]:
        """The sequences to train: one, or several if the chat template lacked the prefix property."""
        prompt, held, turn = self.prompt_ids, list[Segment](), 0
        for s in self.segments:
            if s.anew:
                yield (made := Sequenced(prompt, tuple(held), turn))
                prompt, held, turn = s.ids, [], max([turn, *made.turns]) + 1
            else:
                held.append(s)
        yield Sequenced(prompt, tuple(held), turn)

    def demonstrated(self) -> Trajectory:
        """The same trajectory with sampled segments marked as demonstrations, for samples of another model."""
        turned = (replace(s, author=DEMONSTRATION, temperature=1.0) if s.author == POLICY else s for s in self.segments)
        return replace(self, segments=tuple(turned))


def completion(
    prompt_ids: Sequence[int],
    ids: Sequence[int],
    logps: Sequence[float] = (),
    stop_reason: StopReason = "stop",
    temperature: float = 1.0,
) -> Trajectory:
    """A single sampled completion."""
    segment = Segment(POLICY, tuple(ids), tuple(logps), stop_reason=stop_reason, temperature=temperature)
    return Trajectory(tuple(prompt_ids), (segment,))


def demonstration(ids: Sequence[int], prompt_ids: Sequence[int] = ()) -> Trajectory:
    """A completion that was given as a demonstration."""
    return Trajectory(tuple(prompt_ids), (Segment(DEMONSTRATION, tuple(ids), stop_reason="stop"),))


def continued(prefix: Sequence[int], end: Trajectory) -> Trajectory:
    """The completion that consists of a given prefix and an end that was sampled after prompt and prefix."""
    if not prefix:
        return end
    before = len(end.prompt_ids) - len(prefix)
    assert end.prompt_ids[before:] == tuple(prefix), "the end was sampled after another prefix"
    return replace(
        end, prompt_ids=end.prompt_ids[:before], segments=(Segment(DEMONSTRATION, tuple(prefix)), *end.segments)
    )
