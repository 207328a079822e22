"""Own samples in groups."""

from scalpel.batch import ENVIRONMENT, POLICY, Batch, Row, lay
from scalpel.draw import Draw
from scalpel.part import part


@part("source", "groups", gives=frozenset({"reward"}))
def groups(draw: Draw, *, size: int = 8) -> Batch:
    """`size` samples of the policy for each prompt, with their rewards.

    Reads    prompts; the reward functions.
    Limits   size 1 is plain policy gradient on single samples: credits that need a spread refuse it.
    Fails    all rewards of a group equal: nothing to learn there; `reward/equal_groups` shows the share.
    Source   Shao et al. 2024 (arXiv 2402.03300), section 4.1.
    """
    prompts = [draw.tokens.prompt(example.prompt) for example in draw.examples]
    samples = draw.sample(prompts, size, draw.seed)
    rewards = draw.reward(draw.examples, samples)
    return lay(
        [
            Row(
                [*prompt, *sample.ids],
                [False] * len(prompt) + [True] * len(sample.ids),
                [ENVIRONMENT] * len(prompt) + [POLICY] * len(sample.ids),
                group=group,
                rewards=reward,
                behaviour=[0.0] * len(prompt) + sample.logp,
                columns=example.columns,
            )
            for group, (example, prompt) in enumerate(zip(draw.examples, prompts, strict=True))
            for sample, reward in zip(samples[group], rewards[group], strict=True)
        ]
    )
