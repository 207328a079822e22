"""Preference pairs."""

from collections.abc import Sequence
from typing import Any, Literal

from scalpel.batch import PREFERRED, REJECTED, Batch, Row, lay
from scalpel.binding.bounds import Few
from scalpel.data.trajectory import Trajectory
from scalpel.part import part
from scalpel.rewards.scored import total
from scalpel.sources.context import SourceContext
from scalpel.sources.own_columns import Make, from_samples
from scalpel.sources.sampled import Judged, judged, rendered_row, sample_row, within

Choose = Literal["threshold", "extremes"]


def given(context: SourceContext) -> list[Row]:
    rows: list[Row] = []
    for group, example in enumerate(context.examples):
        chosen, rejected = (context.fit(row, example) for row in context.tokens.pair(example))
        if chosen is not None and rejected is not None:
            rows.append(rendered_row(chosen, example, group, PREFERRED))
            rows.append(rendered_row(rejected, example, group, REJECTED))
    return rows


def apart(samples: Judged, choose: Choose, threshold: float) -> Sequence[Trajectory]:
    """A better and a worse one of the samples; none where there is no difference. What nothing rewarded is neither."""
    samples = [(sample, rewards) for sample, rewards in samples if total(rewards) == total(rewards)]
    if not samples:
        return ()
    best, worst = (by(samples, key=lambda judged: total(judged[1])) for by in (max, min))
    if choose == "extremes":
        return (best[0], worst[0]) if total(best[1]) > total(worst[1]) else ()
    right = [sample for sample, rewards in samples if total(rewards) >= threshold]
    wrong = [sample for sample, rewards in samples if total(rewards) < threshold]
    return (right[0], wrong[0]) if right and wrong else ()


def sampled(context: SourceContext, size: int, threshold: float, choose: Choose, writer: str) -> list[Row]:
    rows: list[Row] = []
    prompts, found = judged(context, size, writer)
    for group, (example, prompt, samples) in enumerate(zip(context.examples, prompts, found, strict=True)):
        for sample, label in zip(apart(samples, choose, threshold), (PREFERRED, REJECTED), strict=False):
            rows.append(sample_row(prompt, sample, example, group, label=label))
    return rows


def asked(make: Make = "auto", writer: str = "policy", **other: Any) -> set[str]:
    return set() if make == "given" else {writer}


@part("source", "preference-pairs", gives=frozenset({"pair"}), asks=asked)
def preference_pairs(
    context: SourceContext,
    *,
    make: Make = "auto",
    size: Few = 8,
    threshold: float = 1.0,
    choose: Choose = "threshold",
    writer: str = "policy",
) -> Batch:
    """Two answers to each prompt, one labelled as preferred and one as rejected; each pair is a group.

    `make` "given": the data's own; "samples": the first of `size` samples with a reward of `threshold` or more
    against the first with less, or, to `choose` the "extremes", the best against the worst, prompts where they don't
    differ being skipped; "auto": given where the data has pairs. `writer` is the policy or another role that samples.

    Reads    `chosen` and `rejected`; or prompts and the reward functions.
    Limits   what DPO and its relatives learn from.
    Fails    samples all right or all wrong: few pairs are left, `tokens_trained_share` is missing from the log.
             Pairs that differ in length teach length.
    Source   Rafailov et al. 2023 (arXiv 2305.18290), section 3; own samples as in Guo et al. 2024 (arXiv 2402.04792).
    """
    within("preference-pairs", 2, size=size)
    sampling = from_samples(context, make, lambda e: e.chosen is None or e.rejected is None, "'chosen' or 'rejected'")
    return lay(sampled(context, size, threshold, choose, writer) if sampling else given(context))
