"""Rejection sampling: own samples whose reward reaches a threshold."""

from scalpel.batch import Batch, pack
from scalpel.binding.bounds import Few, Pattern, Unbounded
from scalpel.part import part
from scalpel.sources.acceptance import Order, accepted
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import judged, trajectory_rows, within, writers


@part("source", "accepted-samples", gives=frozenset({"reward"}), asks=writers(), plays=True)
def accepted_samples(
    context: SourceContext,
    *,
    size: Few = 8,
    threshold: Unbounded = 1.0,
    keep: Few = 4,
    dedupe: bool = True,
    key: Pattern = "",
    order: Order = "first",
    writer: str = "policy",
) -> Batch:
    """Samples `size` completions a prompt and keeps those with a reward of `threshold` or more, deduplicated.

    A sample that was cut off at the length limit is never kept: it would train the model not to stop. `keep` bounds the
    number a prompt, and so the weight of easy prompts. Duplicates have equal texts, or equal lists of matches of the
    expression `key` (for example their equations); without `dedupe` none are removed. `order` selects the "first" ones,
    the "best" by reward, or, among duplicates, the one that is farthest "apart" from all others kept, in edits.
    `writer` is the policy or another role: "previous", the model that the stage before left; "reference"; or [models].

    Reads    prompts; the reward functions.
    Limits   threshold −∞, without dedupe and cap: self-imitation; with keep 1 and "best": best of n. With `nll` it is
             one step of expert iteration.
    Fails    a writer that never succeeds: the batch is empty and no parameter changes; `tokens_trained_share` is
             missing from the log.
    Source   Yuan et al. 2023 (arXiv 2308.01825), section 3.3; cap as in Singh et al. 2023 (arXiv 2312.06585).
    """
    within("accepted-samples", 1, size=size, keep=keep)
    _, found = judged(context, size, writer)
    kept = [accepted(context, samples, threshold, keep, dedupe, key, order) for samples in found]
    pairs = enumerate(zip(context.examples, kept, strict=True))
    return pack([row for g, (example, mine) in pairs for s, r in mine for row in trajectory_rows(s, example, g, r)])
