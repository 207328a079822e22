"""Own samples in groups, with the chance of success measured along the way."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from scalpel.batch import Batch, Row, lay
from scalpel.draw import Draw, derive
from scalpel.engine.sample import Sample
from scalpel.part import part
from scalpel.sources.probing import Probe, chances, ends
from scalpel.sources.sampled import sample_row, total


def started(draw: Draw, cut: str) -> list[list[int]]:
    """For each prompt the beginning of an own answer, up to the end of one of its episodes, or nothing."""
    prompts = [draw.tokens.prompt(example.prompt) for example in draw.examples]
    begun = []
    for g, (sample,) in enumerate(draw.sample(prompts, 1, derive(draw.seed, "start") % 2**31)):
        places = [0, *ends(draw.tokens, sample.ids, cut, len(sample.ids))]
        begun.append(list(sample.ids[: Random(derive(draw.seed, "start", g)).choice(places)]))
    return begun


def inside(row: Row, sample: Sample, at: Sequence[int], gains: Sequence[float]) -> Row:
    """The row with its episodes as turns, and the progress of each at its last token."""
    before = len(row.ids) - len(sample.ids)
    turn = [sum(t >= n for n in at) for t in range(len(sample.ids))]
    last = dict(zip([*(n - 1 for n in at), len(sample.ids) - 1], gains, strict=True))
    reward = [last.get(t, 0.0) for t in range(len(sample.ids))]
    return replace(row, turn=[0] * before + turn, inside=[0.0] * before + reward)


@part("source", "probed-groups", gives=frozenset({"reward", "behaviour", "progress"}))
def probed_groups(
    draw: Draw,
    *,
    size: int = 8,
    cut: str = "\n\n",
    force: str = "\n\nTime is up. The final answer is ",
    provers: int = 4,
    episodes: int = 4,
    room: int = 16,
    begun: bool = False,
) -> Batch:
    """`size` samples a prompt, cut into episodes of thought, each with what it adds to the chance of success.

        progress of episode j = J(c_0 … c_j) − J(c_0 … c_{j−1}),   J = mean reward of `provers` forced answers

    An episode ends with `cut`. `force` are the words that end the thinking, behind which the policy has `room` tokens
    to answer; J at the end is the sample's own reward. With `begun` the samples go on from the beginning of an own
    answer, which is not trained.

    Reads    prompts; the reward functions that judge (those that shape a reward don't apply to forced answers).
    Limits   the progress of a sample adds up to its reward less J at its start. Without a cut it is one episode.
    Fails    `force` is not understood: J stays 0, and all progress comes with the last episode. It costs `provers`
             answers an episode.
    Source   Qu et al. 2025 (arXiv 2503.07572), meta-prover policy; `begun` as in its MRT-RL. Cut and words are ours.
    """
    if provers < 1 or episodes < 1:
        raise ValueError(f"provers is {provers} and episodes is {episodes}: both must be 1 or more")
    prompts = [draw.tokens.prompt(example.prompt) for example in draw.examples]
    starts = started(draw, cut) if begun else [[] for _ in prompts]
    longer = [[*prompt, *start] for prompt, start in zip(prompts, starts, strict=True)]
    samples = draw.sample(longer, size, draw.seed, [draw.max_tokens - len(start) for start in starts])
    whole = [
        [Sample([*start, *s.ids], [0.0] * len(start) + list(s.logp), s.finished) for s in group]
        for start, group in zip(starts, samples, strict=True)
    ]
    at = [[ends(draw.tokens, s.ids, cut, episodes) for s in group] for group in samples]
    points = [
        [[Probe(g, tuple(whole[g][k].ids[: len(starts[g]) + n])) for n in [0, *at[g][k]]] for k in range(size)]
        for g in range(len(prompts))
    ]
    J = chances(draw, [p for group in points for line in group for p in line], force, provers, room)
    rewards, rows = draw.reward(draw.examples, whole), []
    for g, example in enumerate(draw.examples):
        for k, sample in enumerate(samples[g]):
            worth = [*(J[p] for p in points[g][k]), total(rewards[g][k])]
            gains = [after - before for before, after in zip(worth, worth[1:], strict=False)]
            row = sample_row(longer[g], sample, example, g, rewards[g][k])
            rows.append(inside(row, sample, at[g][k], gains))
    return lay(rows)
