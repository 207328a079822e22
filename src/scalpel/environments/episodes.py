"""Episodes: the policy speaks, the environment answers, until all have ended.

The turns of all episodes of a batch are sampled together. What was sampled stays as it was: the environment's turn is
encoded by itself and appended to the ids.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from scalpel.data.example import Example, Message, Prompt
from scalpel.data.next_turn import grown, next_turn
from scalpel.data.tokenizer import Tokens
from scalpel.data.trajectory import Segment, Trajectory
from scalpel.environments.environment import Environment
from scalpel.seeding import derive

log = logging.getLogger("scalpel")
Sample = Callable[[Sequence[Sequence[int]], int, int], Sequence[Sequence[Trajectory]]]  # prompts, how many, seed


@dataclass
class Episode:
    """An episode under way: what the model is shown now, as a prompt and as ids, and what came of it so far."""

    environment: Environment
    tokens: Tokens
    prompt: Prompt
    prompt_ids: tuple[int, ...]
    state: Any
    shown: list[int]
    segments: list[Segment] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    over: bool = False

    def hear(self, segment: Segment, last: bool, context_length: int) -> None:
        """Takes the policy's turn; `last` says whether it may not speak again."""
        text = self.tokens.text(segment.ids)
        said: Message = {"role": "assistant", "content": text}
        self.messages.append(said)
        if segment.stop_reason != "stop":  # it was cut off, so there is nothing to answer
            return self.end(segment)
        self.state, replies, reward = self.environment.step(self.state, text)
        segment = replace(segment, reward=reward)
        if replies is None:
            return self.end(segment)
        if last:
            return self.end(replace(segment, stop_reason="turns"))
        between = next_turn(self.tokens, self.prompt, said, segment.ids, replies)
        shown = [] if between[:1] and between[0].anew else [*self.shown, *segment.ids]
        shown += [i for s in between for i in s.ids]
        if len(shown) >= context_length:
            return self.end(replace(segment, stop_reason="context"))
        self.shown, self.prompt = shown, grown(self.prompt, said, replies)
        self.segments += [segment, *between]
        self.messages += replies

    def end(self, segment: Segment) -> None:
        self.segments.append(segment)
        self.over = True

    @property
    def trajectory(self) -> Trajectory:
        return Trajectory(self.prompt_ids, tuple(self.segments), tuple(self.messages))


def play(
    environment: Environment,
    tokens: Tokens,
    sample: Sample,
    examples: Sequence[Example],
    n: int,
    seed: int,
    context_length: int,
) -> list[list[Trajectory]]:
    """n episodes of each example; none is longer than `context_length` tokens, the model's context."""
    prompts = [tokens.prompt(example.prompt) for example in examples]
    episodes = [
        [Episode(environment, tokens, e.prompt, tuple(p), environment.reset(e), list(p)) for _ in range(n)]
        for e, p in zip(examples, prompts, strict=True)
    ]
    going = [episode for group in episodes for episode in group]
    said = [one for group in sample(prompts, n, seed) for one in group] if going else []
    for turn in count(1):
        for episode, answer in zip(going, said, strict=True):
            episode.hear(answer.segments[0], turn >= environment.max_turns, context_length)
        going = [episode for episode in going if not episode.over]
        if not going:
            return [[episode.trajectory for episode in group] for group in episodes]
        said = [one for (one,) in sample([e.shown for e in going], 1, derive(seed, "turn", turn) % 2**31)]
    raise AssertionError("there is always a next turn")


def shares(episodes: Sequence[Trajectory]) -> dict[str, float]:
    """For the record of a step: turns an episode, and the shares of those that a limit ended."""
    reasons = Counter(episode.stop_reason for episode in episodes)
    return {
        "episodes/turns": sum(len(episode.policy) for episode in episodes) / len(episodes),
        "episodes/out_of_turns": reasons["turns"] / len(episodes),
        "episodes/context_full": reasons["context"] / len(episodes),
        "episodes/split": sum(any(s.anew for s in episode.segments) for episode in episodes) / len(episodes),
    }
