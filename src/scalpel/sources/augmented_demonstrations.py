"""Demonstrations, and own samples whose reward reaches a threshold, in one batch."""

from scalpel.batch import Batch, pack
from scalpel.binding.bounds import Few, Pattern, Unbounded
from scalpel.part import part
from scalpel.sources.acceptance import Order, accepted
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import at_most, demonstrated, judged, rendered_row, trajectory_rows, within, writers


@part(
    "source",
    "augmented-demonstrations",
    gives=frozenset({"demonstration"}),
    asks=writers("reference"),
    samples=at_most(lambda size, **other: size),
)
def augmented_demonstrations(
    context: SourceContext,
    *,
    size: Few = 8,
    threshold: Unbounded = 1.0,
    keep: Few = 4,
    dedupe: bool = True,
    key: Pattern = "",
    order: Order = "first",
    writer: str = "reference",
) -> Batch:
    """The examples' demonstrations, each beside the samples of its prompt that are kept: D ∪ D'.

        D' = {ŷ ~ π_writer(· | x) : r(ŷ) ≥ threshold}, without duplicates

    It is one batch, so a loss that is averaged over tokens gives each token the same weight, whoever wrote it, and a
    prompt with many kept samples weighs more. The keys are those of `accepted-samples`.

    Reads    `completion`; prompts; the reward functions.
    Limits   a writer that is never correct: `demonstrations`.
    Fails    a reward that accepts wrong answers. `rewards/…/mean` is how often the samples were correct.
    Source   Yuan et al. 2023 (arXiv 2308.01825), section 3.3: the samples are added to the training set.
    """
    within("augmented-demonstrations", 1, size=size, keep=keep)
    golden = demonstrated(context, "augmented-demonstrations")
    _, found = judged(context, size, writer)
    rows = []
    for group, (example, gold, samples) in enumerate(zip(context.examples, golden, found, strict=True)):
        rows += [] if gold is None else [rendered_row(gold, example, group)]
        for trajectory, _ in accepted(context, samples, threshold, keep, dedupe, key, order):
            rows += trajectory_rows(trajectory, example, group)
    return pack(rows)
