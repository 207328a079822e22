"""Another model's answers."""

from scalpel.batch import Batch, lay
from scalpel.part import part
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import sample_row, writers


@part("source", "answers", gives=frozenset({"demonstration"}), asks=writers("weak"))
def answers(context: SourceContext, *, writer: str = "weak") -> Batch:
    """What another model answers to the prompts, taken for right: labels by a weaker model, or by a teacher.

    `writer` is a role of [models], or "reference", "previous". Nobody judges the answers, but those that were cut off
    are left out. At temperature 0 they are what the writer holds likeliest.

    Reads    prompts.
    Limits   writer "policy": imitation of itself. With `nll` and a teacher: distillation by sequences.
    Fails    the student learns the writer's mistakes, too; more so the longer it trains.
    Source   Burns et al. 2023 (arXiv 2312.09390), section 3; by a teacher Kim & Rush 2016 (arXiv 1606.07947).
    """
    prompts = [context.tokens.prompt(example.prompt) for example in context.examples]
    found = context.by(writer)(prompts, 1, context.seed)
    rows = [
        sample_row(prompt, sample.demonstrated(), example, group)
        for group, (example, prompt, (sample,)) in enumerate(zip(context.examples, prompts, found, strict=True))
        if sample.finished
    ]
    return lay(rows)
