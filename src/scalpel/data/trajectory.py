"""Trajectory: what a policy produced in an episode, as token ids that are never tokenised again.

An episode is a prompt, a turn of the policy, what an environment says to it, the next turn, and so on. One completion
is a trajectory of a single policy segment. Sampled ids stay as they were sampled: decoding and encoding them again may
give other ids, whose log-probs nobody drew from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scalpel.batch import DEMONSTRATION, POLICY
from scalpel.data.example import Message

# why a segment of the policy ended: it wrote a stop; the limit on tokens; the model's context was full; no more turns
StopReason = Literal["", "stop", "length", "context", "turns"]
SPOKEN = frozenset({POLICY, DEMONSTRATION})  # the authors of what stands in the assistant's turns


@dataclass(frozen=True)
class Segment:
    """A stretch of tokens with one author. `logps` are those of the distribution that sampled it, empty where it was
    not sampled, and `temperature` is that distribution's; `reward` is what the environment gave for it. Where `anew` is
    set, the ids are a whole prompt that was rendered anew, behind which the next segment was sampled: they begin a
    sequence of their own."""

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
        """The log-probs, 0 where the segment was not sampled."""
        return self.logps or (0.0,) * len(self.ids)


@dataclass(frozen=True)
class Sequenced:
    """One sequence of a trajectory: what the model was shown first, and the segments behind it. `turn` is the number
    of assistant turns before the sequence's own."""

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
        """What stands in the assistant's turns, whoever wrote it."""
        return [i for s in self.segments if s.author in SPOKEN for i in s.ids]

    @property
    def answer_ids(self) -> list[int]:
        """The ids of the last assistant turn, a beginning that was given included: what a verifier judges."""
        last: list[int] = []
        for s in reversed(self.segments):
            if s.author not in SPOKEN:
                break
            last[:0] = s.ids
        return last

    @property
    def reward(self) -> float:
        """The sum of what the environment gave."""
        return sum(s.reward for s in self.segments)

    @property
    def stop_reason(self) -> StopReason:
        """Why the last segment ended."""
        return self.segments[-1].stop_reason if self.segments else ""

    @property
    def finished(self) -> bool:
        """Whether its last turn ended by itself, and no limit on tokens ended it."""
        return self.stop_reason in ("stop", "turns")

    def sequences(self) -> Iterator[Sequenced]:
        """The sequences that are trained: one, or several where prompts were rendered anew."""
        prompt, held, turn = self.prompt_ids, list[Segment](), 0
        for s in self.segments:
            if s.anew:
                yield (made := Sequenced(prompt, tuple(held), turn))
                prompt, held, turn = s.ids, [], max([turn, *made.turns]) + 1
            else:
                held.append(s)
        yield Sequenced(prompt, tuple(held), turn)

    def demonstrated(self) -> Trajectory:
        """The same, where what was sampled stands for a demonstration: another model's answers are one."""
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
    """The whole of a completion whose beginning was given: it was sampled behind prompt and prefix."""
    if not prefix:
        return end
    before = len(end.prompt_ids) - len(prefix)
    assert end.prompt_ids[before:] == tuple(prefix), "the end was sampled behind another beginning"
    return replace(
        end, prompt_ids=end.prompt_ids[:before], segments=(Segment(DEMONSTRATION, tuple(prefix)), *end.segments)
    )
