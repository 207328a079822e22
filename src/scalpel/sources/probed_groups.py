"""Own samples in groups, with the chance of success measured along the way."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from scalpel.batch import Batch, lay
from scalpel.bounds import Few, Tokens
from scalpel.draw import Draw, derive
from scalpel.part import part
from scalpel.sources.probing import Answer, chances, ends


def numbered(answers: Sequence[Sequence[Answer]]) -> Iterator[tuple[int, int, Answer]]:
    return ((g, k, answer) for g, group in enumerate(answers) for k, answer in enumerate(group))


def started(draw: Draw, cut: str) -> list[list[int]]:
    """For each prompt the beginning of an own answer, up to the end of one of its episodes, or nothing."""
    prompts = [draw.tokens.prompt(example.prompt) for example in draw.examples]
    begun = []
    for g, (sample,) in enumerate(draw.sample(prompts, 1, derive(draw.seed, "start") % 2**31)):
        places = [0, *ends(draw.tokens, sample.ids, cut, len(sample.ids))]
        begun.append(list(sample.ids[: Random(derive(draw.seed, "start", g)).choice(places)]))
    return begun


def samples(draw: Draw, *, size: int, provers: int, episodes: int, room: int, begun: bool, **other: Any) -> int:
    forced = provers * episodes * min(room, draw.max_tokens)
    return len(draw.examples) * (begun * draw.max_tokens + size * (draw.max_tokens + forced))


@part("source", "probed-groups", gives=frozenset({"reward", "behaviour", "progress"}), samples=samples)
def probed_groups(
    draw: Draw,
    *,
    size: Few = 8,
    cut: str = "\n\n",
    force: str = "\n\nTime is up. The final answer is:",
    provers: Few = 4,
    episodes: Few = 4,
    room: Tokens = 16,
    begun: bool = False,
) -> Batch:
    """`size` samples a prompt, cut into episodes of thought, each with what it adds to the chance of success.

        progress of episode j = J(c_0 … c_j) − J(c_0 … c_{j−1}),   J = mean reward of `provers` forced answers

    An episode ends where the expression `cut` matches. `force` are the words that end the thinking, behind which the
    policy has `room` tokens to answer; J at the end is the sample's own reward. With `begun` the samples go on from the
    beginning of an own answer, which is not trained.

    Reads    prompts; the reward functions that judge (those that shape a reward don't apply to forced answers).
    Limits   the progress of a sample adds up to its reward less J at its start. Without a cut it is one episode.
    Fails    `force` is not understood: J stays 0, and all progress comes with the last episode. It costs `provers`
             answers an episode.
    Source   Qu et al. 2025 (arXiv 2503.07572), meta-prover policy; `begun` as in its MRT-RL. Cut and words are ours.
    """
    if min(size, provers, episodes, room) < 1:
        raise ValueError(
            f"source 'probed-groups' has size {size}, provers {provers}, episodes {episodes}, room {room}: each must "
            "be 1 or more"
        )
    prompts = [draw.tokens.prompt(example.prompt) for example in draw.examples]
    starts = started(draw, cut) if begun else [[] for _ in prompts]
    longer = [[*prompt, *start] for prompt, start in zip(prompts, starts, strict=True)]
    samples = draw.sample(longer, size, draw.seed, [draw.max_tokens - len(start) for start in starts])
    answers = [
        [Answer(g, tuple(start), s, ends(draw.tokens, s.ids, cut, episodes)) for s in group]
        for g, (start, group) in enumerate(zip(starts, samples, strict=True))
    ]
    J = chances(draw, [point for group in answers for a in group for point in a.points], force, provers, room)
    rewards = draw.reward(draw.examples, [[a.whole for a in group] for group in answers])
    return lay([a.row(longer[g], draw.examples[g], rewards[g][k], J) for g, k, a in numbered(answers)])
