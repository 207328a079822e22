"""Groups of on-policy samples, some of which continue a prefix of a demonstration."""

from collections.abc import Mapping
from random import Random
from typing import Any

import torch

from scalpel.batch import Batch, pack
from scalpel.data.trajectory import continued
from scalpel.part import part, scheduled
from scalpel.seeding import derive
from scalpel.sources.context import SourceContext
from scalpel.sources.given import demonstrations_of
from scalpel.sources.sampled import sample_row, within

FALLING = {"from": 0.95, "to": 0.05, "over": "cosine"}


def lengths(n: int, low: float, high: float, alpha: float, beta: float, seed: int) -> list[float]:
    """n shares of a demonstration: low + (high − low)·u, u ~ Beta(α, β)."""
    if alpha == beta == 1:
        u = torch.rand(n, generator=torch.Generator().manual_seed(seed % 2**63), dtype=torch.float64).tolist()
    else:
        random = Random(seed)
        u = [random.betavariate(alpha, beta) for _ in range(n)]
    return [low + (high - low) * x for x in u]


def prefixes(
    context: SourceContext, n: int, low: float, high: float, alpha: float = 1.0, beta: float = 1.0, share: float = 1.0
) -> list[list[list[int]]]:
    """For each example n prefixes of its demonstrations, in turn; empty ones for prompts without prefixes, which are
    the same prompts in every epoch."""
    within("prefix-groups", 0, 1, low=low, high=high, share=share)
    within("prefix-groups", 0.01, alpha=alpha, beta=beta)
    found: list[list[list[int]]] = []
    for i, example in enumerate(context.examples):
        if derive("shown", example.id, example.prompt) % 2**32 >= share * 2**32:
            found.append([[] for _ in range(n)])
            continue
        given = demonstrations_of(context, example, i, "prefix-groups")
        first = derive(context.seed, "which", i) % len(given)
        begun = []
        for k, part_of in enumerate(lengths(n, low, high, alpha, beta, derive(context.seed, "prefix", i))):
            y = given[(first + k) % len(given)]
            longest = min(len(y), context.max_tokens) - 1  # leaves at least one token to the policy
            begun.append(y[: max(0, min(int(part_of * len(y)), longest))])
        found.append(begun)
    return found


@part("source", "prefix-groups", gives=frozenset({"reward", "behaviour", "demonstration"}))
def prefix_groups(
    context: SourceContext,
    *,
    size: int = 8,
    continuations: int = 1,
    each: int = 1,
    low: float | Mapping[str, Any] = FALLING,
    high: float = 0.95,
    alpha: float = 1.0,
    beta: float = 1.0,
    share: float = 1.0,
) -> Batch:
    """Samples `size` completions a prompt, of which some continue a prefix of a demonstration.

        y = y*_{<L} ∘ ŷ,  ŷ ~ π(· | x, y*_{<L}),  L = ⌊l·|y*|⌋,  l ~ low + (high − low)·Beta(α, β)

    There are `continuations` prefixes a prompt with `each` samples from each; a column `demonstrations` may hold
    several, used in turn. Prefix tokens are trained too, and marked as demonstrated; all samples of a prompt are one
    group and have the same token budget, prefix included. `low` decreases to 0.05 along the run, from nearly complete
    demonstrations to mostly on-policy tokens. With `share` below 1 only that part of the prompts has prefixes.

    Reads    prompts and `completion`; the reward functions.
    Limits   continuations 0 or share 0 is `groups`; α = β = 1 is uniform, α > β favours long prefixes.
    Fails    only samples with a prefix ever succeed: `reward` falls again as the prefixes get shorter.
    Source   Huang et al. 2025 (arXiv 2507.01679), section 3, appendix A.2; Beta as in its code.
    """
    within("prefix-groups", 1, size=size, each=each)
    begun_from = continuations * each
    if not 0 <= begun_from <= size:
        raise ValueError(f"{begun_from} of {size} samples can't continue a demonstration: set 0 to {size}")
    begun = prefixes(context, continuations, scheduled(low, context.progress), high, alpha, beta, share)
    begun = [[prefix for prefix in ways for _ in range(each)] for ways in begun]
    prompts = [context.tokens.prompt(example.prompt) for example in context.examples]
    own = context.sample(prompts, size - begun_from, context.seed) if begun_from < size else [[] for _ in prompts]
    longer = [[*prompt, *prefix] for prompt, ways in zip(prompts, begun, strict=True) for prefix in ways]
    budget = [context.max_tokens - len(prefix) for ways in begun for prefix in ways]
    ends = iter(context.sample(longer, 1, derive(context.seed, "continue") % 2**31, budget) if longer else [])
    pairs = list(zip(own, begun, strict=True))
    samples = [[*mine, *(continued(prefix, next(ends)[0]) for prefix in ways)] for mine, ways in pairs]
    rewards = context.reward(context.examples, samples)
    return pack(
        [
            sample_row(prompts[g], sample, example, g, rewards[g][k])
            for g, example in enumerate(context.examples)
            for k, sample in enumerate(samples[g])
        ]
    )
