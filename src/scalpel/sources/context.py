"""What a source gets from the loop for one optimiser step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from scalpel.data.example import Example
    from scalpel.data.tokenized import Tokenized
    from scalpel.data.tokenizer import Tokens
    from scalpel.data.trajectory import Trajectory


def unwritten(n: int, max_tokens: int, temperature: float, begin: str) -> Sequence[Tokenized]:
    raise NotImplementedError("this material was made by hand, without a base that writes")


class Sampler(Protocol):
    """Samples n completions of each prompt, with at most `limits[p]` tokens where that is given, from the policy or
    from the model of another role. `done(p, samples)` is called for each prompt whose samples are complete, while
    others are still being sampled."""

    def __call__(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        seed: int,
        limits: Sequence[int] | None = None,
        writer: str = "policy",
        done: Callable[[int, list[Trajectory]], None] | None = None,
    ) -> list[list[Trajectory]]: ...


class Play(Protocol):
    """Plays n episodes of each example in the stage's environment; `sample` samples each turn of the policy."""

    def __call__(self, sample: Sampler, examples: Sequence[Example], n: int, seed: int) -> list[list[Trajectory]]: ...


@dataclass(frozen=True)
class SourceContext:
    """The inputs and functions of a source for one step.

    `examples` are this step's prompts; `sample(prompts, n, seed, limits)` samples from the policy, `by(writer)` from
    another model that the source uses; `reward(examples, samples)` returns a list of rewards for each sample;
    `fit(rendered, example)` truncates a tokenised sequence of that example to the stage's maximum length, or drops it
    (None); `seed` is specific to the step.
    `written(n, max_tokens, temperature, begin)` returns n texts that the base sampled before the run.
    `more(at, n)` returns the examples at … at + n − 1 of a shuffle of all examples that are not in this step; fewer
    where it ends. `early(p, samples)` gets the samples of example p before `reward` is called, for rewards that may be
    computed early. `play` is set if the stage has an environment: `rewarded` then returns episodes.
    """

    examples: Sequence[Example]
    seed: int
    progress: float
    tokens: Tokens
    sample: Sampler
    reward: Callable[[Sequence[Example], Sequence[Sequence[Trajectory]]], list[list[list[float]]]]
    fit: Callable[..., Tokenized | None]
    max_tokens: int  # the longest completion that `sample` gives
    written: Callable[[int, int, float, str], Sequence[Tokenized]] = unwritten
    more: Callable[[int, int], Sequence[Example]] = lambda at, n: ()
    on_trial: Callable[[Sequence[Example], Sequence[Sequence[Trajectory]]], list[list[list[float]]]] | None = None
    early: Callable[[int, Sequence[Trajectory]], None] | None = None
    play: Play | None = None
    turns: int = 1  # of the policy in an episode, at most

    def rewarded(
        self, prompts: Sequence[Sequence[int]], n: int, writer: str = "policy"
    ) -> tuple[list[list[Trajectory]], list[list[list[float]]]]:
        """n samples of each example's prompt, or n episodes if there is an environment, and their rewards. Rewards that
        allow it are computed early, while other prompts are still being sampled."""
        sample = self.by(writer)
        if self.play is not None:
            samples = self.play(sample, self.examples, n, self.seed)
        elif (early := self.early) is None:
            samples = sample(prompts, n, self.seed)
        else:
            samples = sample(prompts, n, self.seed, done=early)
        return samples, self.reward(self.examples, samples)

    def score(self, examples: Sequence[Example], samples: Sequence[Sequence[Trajectory]]) -> list[list[list[float]]]:
        """The rewards of samples that only probe the policy: they are not logged, and shaping rewards don't apply."""
        return (self.on_trial or self.reward)(examples, samples)

    def by(self, writer: str) -> Sampler:
        """The sampler of the model with that role."""
        return self.sample if writer == "policy" else cast("Sampler", partial(self.sample, writer=writer))
