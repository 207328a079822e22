"""Filtering of prompts by the pass rate of the policy."""

from scalpel.binding.bounds import Few
from scalpel.part import part
from scalpel.rewards.scored import total
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import judged


@part("selection", "learnable")
def learnable(
    context: SourceContext, *, size: Few = 8, threshold: float = 1.0, least: int = 1, most: int | None = None
) -> list[bool]:
    """Keeps the prompts of which at least `least` of `size` samples have a reward of `threshold` or more.

    The policy at the beginning of the stage samples, once. `most` also drops prompts with more passing samples than
    that: a group in which all samples are correct has no advantage.

    Reads    prompts; the reward functions.
    Limits   least 0 keeps all.
    Fails    few prompts are left, and they are the easy ones: `selected_share` is their share. A prompt that is hard
             but solvable is dropped by chance: raise `size`.
    Source   Lai et al. 2025 (arXiv 2507.05386), rollout-based instance filtering; size and threshold are ours.
    """
    if not 0 <= least <= size or (most is not None and most < least):
        raise ValueError(
            f"least is {least} and most is {most}, but they bound the passing samples among {size}: set "
            "0 ≤ least ≤ most ≤ size"
        )
    _, found = judged(context, size)
    good = [sum(total(rewards) >= threshold for _, rewards in samples) for samples in found]
    return [least <= n <= (size if most is None else most) for n in good]
