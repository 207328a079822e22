"""Groups of on-policy samples that include demonstrations."""

from scalpel.batch import Batch, pack
from scalpel.binding.bounds import Few
from scalpel.data.trajectory import demonstration
from scalpel.part import part
from scalpel.sources.context import SourceContext
from scalpel.sources.given import demonstrations_of
from scalpel.sources.sampled import sample_row, within


@part("source", "guided-groups", gives=frozenset({"reward", "behaviour", "demonstration"}))
def guided_groups(context: SourceContext, *, size: Few = 8, demonstrations: int = 1) -> Batch:
    """Groups of `size` answers a prompt, of which `demonstrations` come from the data and the others from the policy.

    Demonstrations get rewards like samples, and their tokens are marked as demonstrated. A column `demonstrations` may
    hold several; if there are fewer than required, each occurs once and the group is smaller.

    Reads    prompts and `completion`; the reward functions.
    Limits   demonstrations 0 is `groups`; demonstrations = size samples nothing.
    Fails    demonstrations longer than `sampling.max_tokens` are truncated, so they get no reward and have no stop
             token.
    Source   Yan et al. 2025 (arXiv 2504.14945), section 3.1, eq. 4; seven samples and one demonstration, section 4.
    """
    within("guided-groups", 1, size=size)
    if not 0 <= demonstrations <= size:
        raise ValueError(f"{demonstrations} of {size} answers can't be demonstrations: set 0 to {size}")
    prompts = [context.tokens.prompt(example.prompt) for example in context.examples]
    own = (
        context.sample(prompts, size - demonstrations, context.seed) if demonstrations < size else [[] for _ in prompts]
    )
    given: list[list[list[int]]] = [[] for _ in prompts]
    if demonstrations:
        known = [demonstrations_of(context, example, i, "guided-groups") for i, example in enumerate(context.examples)]
        given = [[ids[: context.max_tokens] for ids in ways[:demonstrations]] for ways in known]
    answers = [[*mine, *(demonstration(ids) for ids in ways)] for mine, ways in zip(own, given, strict=True)]
    rewards = context.reward(context.examples, answers)
    return pack(
        [
            sample_row(prompts[g], answer, example, g, rewards[g][k])
            for g, example in enumerate(context.examples)
            for k, answer in enumerate(answers[g])
        ]
    )
