"""Self-play pairs: a demonstration against an earlier model's answer."""

from typing import Any

from scalpel.batch import PREFERRED, REJECTED, Batch, pack
from scalpel.data.trajectory import Trajectory
from scalpel.part import part
from scalpel.seeding import derive
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import demonstrated, rendered_row, sample_row


def asked(writer: str = "reference", earlier: float = 0.0, **other: Any) -> set[str]:
    return {writer, "earlier"} if earlier else {writer}


def answered(
    context: SourceContext, writer: str, prompts: list[list[int]], places: list[int], seed: int
) -> dict[int, Trajectory]:
    """The writer's answers to the prompts at these positions, by position."""
    found = context.by(writer)([prompts[i] for i in places], 1, seed)
    return {i: sample for i, (sample,) in zip(places, found, strict=True)}


@part("source", "self-play", gives=frozenset({"pair", "demonstration"}), asks=asked)
def self_play(context: SourceContext, *, writer: str = "reference", earlier: float = 0.0) -> Batch:
    """Pairs of a demonstration, preferred, and an answer of an earlier policy, rejected.

        (y_w, y_l) = (y*, ŷ),   ŷ ~ π_writer(· | x)

    With reference = "start" the writer "reference" is the model at the beginning of the stage, so that each stage plays
    against the one before. For the share `earlier` of the prompts the opponent is the model of the stage before that,
    so that its pairs are trained on for another stage.

    Reads    prompts and `completion`; no reward.
    Limits   an opponent with the distribution of the demonstrations: the gradient is 0 in expectation, the fixed point.
    Fails    `accuracy` near 1 from the start: the opponent differs from the data in form, and only form is learnt.
    Source   Chen et al. 2024 (arXiv 2401.01335), algorithm 1; earlier pairs as in section 6.1.
    """
    if not 0 <= earlier <= 1:
        raise ValueError(f"earlier is {earlier}, but it is a share of the prompts: set 0 to 1")
    prompts = [context.tokens.prompt(example.prompt) for example in context.examples]
    golden = demonstrated(context, "self-play")
    # The share `earlier` of the positions, evenly spaced, so that each batch has it exactly and not only on average.
    old = [i for i in range(len(prompts)) if int((i + 1) * earlier) > int(i * earlier)]
    new = [i for i in range(len(prompts)) if i not in old]
    said = answered(context, writer, prompts, new, context.seed)
    if old:
        said |= answered(context, "earlier", prompts, old, derive(context.seed, "earlier") % 2**31)
    rows = []
    for group, (example, prompt, gold) in enumerate(zip(context.examples, prompts, golden, strict=True)):
        if gold is not None:
            rows.append(rendered_row(gold, example, group, PREFERRED))
            rows.append(sample_row(prompt, said[group], example, group, label=REJECTED))
    return pack(rows)
