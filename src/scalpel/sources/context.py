"""What the loop hands to a source for one optimiser step."""

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
    """n samples of each prompt, of at most `limits[p]` tokens where that is given; by the policy, or by the model of
    another role. `done(p, samples)` is told of each prompt whose samples are complete, while others are still written.
    """

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
    """n episodes of each example in the stage's environment, each turn of the policy sampled by `sample`."""

    def __call__(self, sample: Sampler, examples: Sequence[Example], n: int, seed: int) -> list[list[Trajectory]]: ...


@dataclass(frozen=True)
class SourceContext:
    """One step's material.

    `examples` are this step's prompts; `sample(prompts, n, seed, limits)` samples from the policy, `by(writer)` from
    another model that the source asks; `reward(examples, samples)` gives a list of rewards for each sample;
    `fit(rendered, example)` cuts a rendered sequence of that example to the stage's maximal length, or drops it (None);
    `seed` is this step's own.
    `written(n, max_tokens, temperature, begin)` gives n texts that the base wrote by itself before the run.
    `more(at, n)` gives the examples at … at + n − 1 of a shuffle of all those that are not this step's; fewer where it
    ends. `early(p, samples)` is told of the samples of example p that `reward` will be asked of, where rewards want to
    know early. `play` is there where the stage has an environment: `rewarded` then gives episodes.
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
        """n samples of each example's prompt, or n episodes where there is an environment, and their rewards; those
        that can be asked early are, while other prompts are still sampled."""
        sample = self.by(writer)
        if self.play is not None:
            samples = self.play(sample, self.examples, n, self.seed)
        elif (early := self.early) is None:
            samples = sample(prompts, n, self.seed)
        else:
            samples = sample(prompts, n, self.seed, done=early)
        return samples, self.reward(self.examples, samples)

    def score(self, examples: Sequence[Example], samples: Sequence[Sequence[Trajectory]]) -> list[list[list[float]]]:
        """The rewards of what is only a trial: none of it is noted, and rewards that shape others don't apply."""
        return (self.on_trial or self.reward)(examples, samples)

    def by(self, writer: str) -> Sampler:
        """How the model of that role samples."""
        return self.sample if writer == "policy" else cast("Sampler", partial(self.sample, writer=writer))
