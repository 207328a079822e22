"""Groups of own samples of which some continue the beginning of a demonstration."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from scalpel.batch import Batch, lay
from scalpel.draw import Draw, derive
from scalpel.engine.sample import Sample
from scalpel.example import Example
from scalpel.part import part, scheduled
from scalpel.sources.sampled import sample_row

FALLING = {"from": 0.95, "to": 0.0, "over": "cosine"}


def prefixes(draw: Draw, n: int, low: float, high: float) -> list[list[list[int]]]:
    """For each example n beginnings of its demonstration: the first ⌊u·|y*|⌋ tokens, u ~ U(low, high)."""
    found = []
    for i, example in enumerate(draw.examples):
        if example.completion is None:
            raise ValueError(
                f"source 'prefix-groups' continues demonstrations, but example {example.id or i!r} has no completion: "
                "add a column 'completion', or take source 'groups', which needs none"
            )
        y = draw.tokens.completion(example.completion, example.prompt)
        generator = torch.Generator().manual_seed(derive(draw.seed, "prefix", i) % 2**63)
        shares = low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)
        longest = min(len(y), draw.max_tokens) - 1  # leaves at least one token to the policy
        found.append([y[: max(0, min(int(share * len(y)), longest))] for share in shares.tolist()])
    return found


def continued(prefix: Sequence[int], sample: Sample) -> Sample:
    """The completion as one: the prefix and what the policy added."""
    return Sample([*prefix, *sample.ids], [*[0.0] * len(prefix), *sample.logp], sample.finished)


@part("source", "prefix-groups", gives=frozenset({"reward", "demonstration"}))
def prefix_groups(
    draw: Draw,
    *,
    size: int = 8,
    continuations: int = 1,
    low: float | Mapping[str, Any] = FALLING,
    high: float = 0.95,
) -> Batch:
    """`size` samples a prompt, of which `continuations` go on from the beginning of the demonstration.

        y = y*_{<L} ∘ ŷ,  ŷ ~ π(· | x, y*_{<L}),  L = ⌊u·|y*|⌋,  u ~ U(low, high)

    Prefix tokens are trained as well, and marked as demonstration; all samples of a prompt are one group and have
    the same budget of tokens. `low` falls to 0 along the run, so it moves from nearly whole demonstrations to
    mostly own samples.

    Reads    prompts and `completion`; the reward functions.
    Limits   continuations 0 is `groups`.
    Fails    only the continued samples ever succeed: `reward` falls back as the prefixes get shorter.
    Source   Huang et al. 2025 (arXiv 2507.01679); window as in the authors' scheduler.
    """
    if not 0 <= continuations <= size:
        raise ValueError(f"{continuations} of {size} samples can't continue a demonstration: set 0 to {size}")
    examples: Sequence[Example] = draw.examples
    begun = prefixes(draw, continuations, scheduled(low, draw.progress), high)
    prompts = [draw.tokens.prompt(example.prompt) for example in examples]
    own = draw.sample(prompts, size - continuations, draw.seed) if continuations < size else [[] for _ in prompts]
    longer = [[*prompt, *prefix] for prompt, ways in zip(prompts, begun, strict=True) for prefix in ways]
    budget = [draw.max_tokens - len(prefix) for ways in begun for prefix in ways]
    ends = iter(draw.sample(longer, 1, derive(draw.seed, "continue") % 2**31, budget) if longer else [])
    samples = [
        [*mine, *(continued(prefix, next(ends)[0]) for prefix in ways)] for mine, ways in zip(own, begun, strict=True)
    ]
    rewards = draw.reward(examples, samples)
    shown = [[0] * len(mine) + [len(prefix) for prefix in ways] for mine, ways in zip(own, begun, strict=True)]
    return lay(
        [
            sample_row(prompts[g], sample, example, g, rewards[g][k], shown=shown[g][k])
            for g, example in enumerate(examples)
            for k, sample in enumerate(samples[g])
        ]
    )
