"""The request to a sampler, and its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scalpel.data.trajectory import Trajectory, completion

MARGIN = 8  # tokens before a stop string that are decoded with it: the first may be part of a character


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 takes the most likely token; `top_k` 0 and `top_p` 1 are off;
    a completion ends after a stop token, or once it contains one of the `stop` strings."""

    max_tokens: int = 64
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    entropy: bool = False  # whether the entropy of what is drawn from is measured; temperature must not be 0 then

    @property
    def scale(self) -> float:
        """What divides the logits where log-probs are taken of the distribution that is drawn from: the temperature, or
        1 for greedy samples, which are drawn from none."""
        return self.temperature or 1.0


@dataclass
class Sample:
    """A completion: its ids (the stop token included), their log-probs under the policy at the sampling temperature
    (before top-k and top-p; greedy samples: at 1), whether it ended by itself, and the summed entropy of the tempered
    distributions that it was drawn from, where that was asked."""

    ids: list[int] = field(default_factory=list)
    logp: list[float] = field(default_factory=list)
    finished: bool = False
    entropy: float = 0.0

    def behind(self, prompt: Sequence[int], temperature: float = 1.0) -> Trajectory:
        """The completion of that prompt as a trajectory, sampled at that temperature."""
        return completion(prompt, self.ids, self.logp, "stop" if self.finished else "length", temperature)


@dataclass(frozen=True)
class Stops:
    """What ends a completion: a stop token, or a text that holds one of the strings."""

    ids: frozenset[int]
    strings: tuple[str, ...]
    decode: Callable[[Sequence[int]], str]

    def end(self, ids: Sequence[int]) -> bool:
        return ids[-1] in self.ids or (bool(self.strings) and self._said(ids))

    def _said(self, ids: Sequence[int]) -> bool:
        """Whether the last token completed a stop string. Only as much of the end is decoded as may hold the longest
        string; if one is found there, the whole text is decoded to be sure."""
        longest = max(len(s.encode()) for s in self.strings)
        reach = longest + MARGIN  # a token is a byte at least, unless it is special and says nothing
        while len(tail := self.decode(ids[-reach:])) < longest and reach < len(ids):
            reach *= 2
        return holds(tail, self.strings) and (reach >= len(ids) or holds(self.decode(ids), self.strings))


@dataclass(frozen=True)
class Request:
    """A request for n completions of each prompt, those of prompt p with at most `limits[p]` tokens.
    `done(p, samples)` is called for each prompt once its samples are complete."""

    prompts: Sequence[Sequence[int]]
    limits: Sequence[int]
    sampling: Sampling
    n: int
    seed: int
    stops: Stops
    done: Callable[[int, list[Sample]], None]


def holds(text: str, stops: Sequence[str]) -> bool:
    """Whether one of the stop strings is in the text. The last token may continue beyond its end."""
    return any(stop in text for stop in stops)


def check_limits(
    prompts: Sequence[Sequence[int]], limits: Sequence[int] | None, max_tokens: int, context_length: int | None
) -> list[int]:
    """The maximal number of tokens of each prompt's samples. Raises ValueError for a prompt that can't be sampled."""
    if limits is None:
        limits = [max_tokens] * len(prompts)
    if len(limits) != len(prompts):
        raise ValueError(f"{len(limits)} limits for {len(prompts)} prompts: give one for each, or none")
    for i, (prompt, limit) in enumerate(zip(prompts, limits, strict=True)):
        if not len(prompt):
            raise ValueError(f"prompt {i} is empty: a model needs at least one token to go on from")
        if not 1 <= limit <= max_tokens:
            raise ValueError(f"limit {i} is {limit}: it must be between 1 and sampling.max_tokens, {max_tokens}")
        if context_length is not None and len(prompt) + limit > context_length:
            raise ValueError(
                f"prompt {i} has {len(prompt)} tokens and {limit} more are to be sampled, but the "
                f"model's context holds {context_length}: shorten the prompt or lower sampling.max_tokens"
            )
    return list(limits)
