"""Answers that another model samples, as demonstrations."""

from scalpel.batch import Batch, pack
from scalpel.part import part
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import sample_row, writers


@part("source", "answers", gives=frozenset({"demonstration"}), asks=writers("weak"))
def answers(context: SourceContext, *, writer: str = "weak") -> Batch:
    """Samples another model's answers to the prompts as demonstrations: pseudo-labels of a weak model or a teacher.

    `writer` is a role of [models], or "reference", "previous". The answers are not scored; those that were cut off at
    the length limit are left out. At temperature 0 they are the writer's greedy completions.

    Reads    prompts.
    Limits   writer "policy": self-imitation. With `nll` and a teacher at temperature 0: sequence-level distillation,
             with the greedy completion in place of a beam's best.
    Fails    the student imitates the writer's errors, too; more so the longer it trains.
    Source   Burns et al. 2023 (arXiv 2312.09390), section 3; by a teacher Kim & Rush 2016 (arXiv 1606.07947).
    """
    prompts = [context.tokens.prompt(example.prompt) for example in context.examples]
    found = context.by(writer)(prompts, 1, context.seed)
    rows = [
        sample_row(prompt, sample.demonstrated(), example, group)
        for group, (example, prompt, (sample,)) in enumerate(zip(context.examples, prompts, found, strict=True))
        if sample.finished
    ]
    return pack(rows)
