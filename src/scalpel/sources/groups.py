"""Own samples in groups."""

from scalpel.batch import Batch, lay
from scalpel.draw import Draw
from scalpel.part import part
from scalpel.sources.sampled import judged, sample_row


@part("source", "groups", gives=frozenset({"reward"}))
def groups(draw: Draw, *, size: int = 8) -> Batch:
    """`size` samples of the policy for each prompt, with their rewards.

    Reads    prompts; the reward functions.
    Limits   size 1 is plain policy gradient on single samples: credits that need a spread refuse it.
    Fails    all rewards of a group equal: nothing to learn there; `reward/equal_groups` shows the share.
    Source   Shao et al. 2024 (arXiv 2402.03300), section 4.1.
    """
    prompts, found = judged(draw, size)
    return lay(
        [
            sample_row(prompt, sample, example, group, rewards)
            for group, (example, prompt, samples) in enumerate(zip(draw.examples, prompts, found, strict=True))
            for sample, rewards in samples
        ]
    )
