"""What the loop hands to a source for one optimiser step, and the order in which examples come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

if TYPE_CHECKING:
    from scalpel.engine import Sample
    from scalpel.example import Example
    from scalpel.rendered import Rendered
    from scalpel.tokens import Tokens


def derive(*parts: Any) -> int:
    """A seed that depends on all of `parts` and on nothing else, the same in every process."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 2


def unwritten(n: int, max_tokens: int, temperature: float, begin: str) -> Sequence[Rendered]:
    raise NotImplementedError("this material was made by hand, without a base that writes")


class Sampled(Protocol):
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
        done: Callable[[int, list[Sample]], None] | None = None,
    ) -> list[list[Sample]]: ...


@dataclass(frozen=True)
class Draw:
    """One step's material.

    `examples` are this step's prompts; `sample(prompts, n, seed, limits)` samples from the policy, `by(writer)` from
    another model that the source asks; `reward(examples, samples)` gives a list of rewards for each sample;
    `fit(rendered, example)` cuts a rendered sequence of that example to the stage's maximal length, or drops it (None);
    `seed` is this step's own.
    `written(n, max_tokens, temperature, begin)` gives n texts that the base wrote by itself before the run.
    `more(at, n)` gives the examples at … at + n − 1 of a shuffle of all those that are not this step's; fewer where it
    ends. `early(example, samples)` is told of samples that `reward` will be asked of, where rewards want to know early.
    """

    examples: Sequence[Example]
    seed: int
    progress: float
    tokens: Tokens
    sample: Sampled
    reward: Callable[[Sequence[Example], Sequence[Sequence[Sample]]], list[list[list[float]]]]
    fit: Callable[..., Rendered | None]
    max_tokens: int  # the longest completion that `sample` gives
    written: Callable[[int, int, float, str], Sequence[Rendered]] = unwritten
    more: Callable[[int, int], Sequence[Example]] = lambda at, n: ()
    on_trial: Callable[[Sequence[Example], Sequence[Sequence[Sample]]], list[list[list[float]]]] | None = None
    early: Callable[[Example, Sequence[Sample]], None] | None = None

    def rewarded(
        self, prompts: Sequence[Sequence[int]], n: int, writer: str = "policy"
    ) -> tuple[list[list[Sample]], list[list[list[float]]]]:
        """n samples of each example's prompt, and their rewards; those that can be asked early are, while other prompts
        are still sampled."""
        sample = self.by(writer)
        if (early := self.early) is None:
            samples = sample(prompts, n, self.seed)
        else:
            samples = sample(prompts, n, self.seed, done=lambda p, found: early(self.examples[p], found))
        return samples, self.reward(self.examples, samples)

    def score(self, examples: Sequence[Example], samples: Sequence[Sequence[Sample]]) -> list[list[list[float]]]:
        """The rewards of what is only a trial: none of it is noted, and rewards that shape others don't apply."""
        return (self.on_trial or self.reward)(examples, samples)

    def by(self, writer: str) -> Sampled:
        """How the model of that role samples."""
        return self.sample if writer == "policy" else cast("Sampled", partial(self.sample, writer=writer))


@lru_cache(maxsize=8)
def permutation(n: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(derive("order", seed, epoch) % 2**63)
    return torch.randperm(n, generator=generator).tolist()


def window(items: Sequence[Any], step: int, size: int, seed: int) -> list[Any]:
    """Items step·size … step·size + size − 1 of an endless sequence of seeded shuffles. It keeps no state, so
    a resumed run goes on where it stopped."""
    places = range(step * size, (step + 1) * size)
    return [items[permutation(len(items), seed, place // len(items))[place % len(items)]] for place in places]


def others(items: Sequence[Any], chosen: Sequence[Any], seed: int, at: int, n: int) -> list[Any]:
    """n items from place `at` on of a seeded shuffle of those that are not among the chosen."""
    taken = {id(item) for item in chosen}
    left = [items[place] for place in permutation(len(items), seed, 0) if id(items[place]) not in taken]
    return left[at : at + n]
