"""On-policy samples in groups, with the probability of success estimated after each episode of reasoning."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from scalpel.batch import Batch, pack
from scalpel.binding.bounds import Few, Tokens
from scalpel.part import part
from scalpel.seeding import derive
from scalpel.sources.context import SourceContext
from scalpel.sources.probing import Answer, chances, ends


def numbered(answers: Sequence[Sequence[Answer]]) -> Iterator[tuple[int, int, Answer]]:
    return ((g, k, answer) for g, group in enumerate(answers) for k, answer in enumerate(group))


def started(context: SourceContext, cut: str) -> list[list[int]]:
    """For each prompt the beginning of a sampled answer, up to the end of a random one of its episodes, or empty."""
    prompts = [context.tokens.prompt(example.prompt) for example in context.examples]
    begun = []
    for g, (sample,) in enumerate(context.sample(prompts, 1, derive(context.seed, "start") % 2**31)):
        places = [0, *ends(context.tokens, sample.ids, cut, len(sample.ids))]
        begun.append(list(sample.ids[: Random(derive(context.seed, "start", g)).choice(places)]))
    return begun


def samples(
    context: SourceContext, *, size: int, provers: int, episodes: int, room: int, begun: bool, **other: Any
) -> int:
    forced = provers * episodes * min(room, context.max_tokens)
    return len(context.examples) * (begun * context.max_tokens + size * (context.max_tokens + forced))


@part("source", "probed-groups", gives=frozenset({"reward", "behaviour", "progress"}), samples=samples)
def probed_groups(
    context: SourceContext,
    *,
    size: Few = 8,
    cut: str = "\n\n",
    force: str = "\n\nTime is up. The final answer is:",
    provers: Few = 4,
    episodes: Few = 4,
    room: Tokens = 16,
    begun: bool = False,
) -> Batch:
    """Samples `size` completions a prompt, with the change in the probability of success over each reasoning episode.

        progress of episode j = J(c_0 … c_j) − J(c_0 … c_{j−1}),   J = mean reward of `provers` forced answers

    An episode ends where the expression `cut` matches. `force` is the text that ends the reasoning, after which the
    policy has `room` tokens to answer; J at the end is the sample's own reward. With `begun` the samples continue the
    beginning of a sampled answer, which is not trained.

    Reads    prompts; the reward functions (shaping rewards don't apply to forced answers).
    Limits   the progress of a sample sums to its reward minus J at its start. Without a match it is one episode.
    Fails    the policy doesn't follow `force`: J stays 0, and all progress is in the last episode. It costs `provers`
             answers an episode.
    Source   Qu et al. 2025 (arXiv 2503.07572), meta-prover policy; `begun` as in its MRT-RL. Cut and words are ours.
    """
    if min(size, provers, episodes, room) < 1:
        raise ValueError(
            f"source 'probed-groups' has size {size}, provers {provers}, episodes {episodes}, room {room}: each must "
            "be 1 or more"
        )
    prompts = [context.tokens.prompt(example.prompt) for example in context.examples]
    starts = started(context, cut) if begun else [[] for _ in prompts]
    longer = [[*prompt, *start] for prompt, start in zip(prompts, starts, strict=True)]
    samples = context.sample(longer, size, context.seed, [context.max_tokens - len(start) for start in starts])
    answers = [
        [Answer(g, tuple(start), s, ends(context.tokens, s.ids, cut, episodes)) for s in group]
        for g, (start, group) in enumerate(zip(starts, samples, strict=True))
    ]
    J = chances(context, [point for group in answers for a in group for point in a.points], force, provers, room)
    rewards = context.reward(context.examples, [[a.whole for a in group] for group in answers])
    return pack([a.row(longer[g], context.examples[g], rewards[g][k], J) for g, k, a in numbered(answers)])
