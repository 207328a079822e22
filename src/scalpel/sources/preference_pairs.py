"""Preference pairs."""

from collections.abc import Sequence
from typing import Any, Literal

from scalpel.batch import PREFERRED, REJECTED, Batch, Row, lay
from scalpel.binding.bounds import Few
from scalpel.data.closed import closed
from scalpel.data.example import Example, located, place
from scalpel.data.tokenized import Tokenized
from scalpel.data.trajectory import Trajectory
from scalpel.part import part
from scalpel.rewards.scored import total
from scalpel.sources.context import SourceContext
from scalpel.sources.own_columns import Make, from_samples
from scalpel.sources.sampled import Judged, judged, rendered_row, sample_row, within

Choose = Literal["threshold", "extremes"]
Trained = Literal["answer", "last"]


def rows_of(context: SourceContext, example: Example, group: int, pair: Sequence[Tokenized]) -> list[Row]:
    """Both rows of a pair as they were rendered; none where one was dropped for its length."""
    chosen, rejected = (context.fit(row, example) for row in pair)
    if chosen is None or rejected is None:
        return []
    return [rendered_row(chosen, example, group, PREFERRED), rendered_row(rejected, example, group, REJECTED)]


def whole(context: SourceContext, example: Example, answers: Sequence[str]) -> list[Tokenized]:
    """The prompt with each answer, to the very end."""
    with located(place(example)):
        return [closed(context.tokens, example.prompt, answer) for answer in answers]


def given(context: SourceContext, train: Trained) -> list[Row]:
    rows: list[Row] = []
    for group, example in enumerate(context.examples):
        pair: Sequence[Tokenized] = context.tokens.pair(example)
        if train == "last":
            pair = whole(context, example, [str(example.chosen), str(example.rejected)])
        rows += rows_of(context, example, group, pair)
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


def sampled(
    context: SourceContext, size: int, threshold: float, choose: Choose, writer: str, train: Trained
) -> list[Row]:
    rows: list[Row] = []
    prompts, found = judged(context, size, writer)
    for group, (example, prompt, samples) in enumerate(zip(context.examples, prompts, found, strict=True)):
        pair = apart(samples, choose, threshold)
        if pair and train == "last":
            rows += rows_of(
                context, example, group, whole(context, example, [context.tokens.text(s.ids) for s in pair])
            )
            continue
        for sample, label in zip(pair, (PREFERRED, REJECTED), strict=False):
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
    train: Trained = "answer",
) -> Batch:
    """Two answers to each prompt, one labelled as preferred and one as rejected; each pair is a group.

    `make` "given": the data's own; "samples": the first of `size` samples with a reward of `threshold` or more
    against the first with less, or, to `choose` the "extremes", the best against the worst, prompts where they don't
    differ being skipped; "auto": given where the data has pairs. `writer` is the policy or another role that samples.
    `train` "answer": the tokens of both answers; "last": both conversations to their very end, as the chat template
    closes them, and the last token alone, at which a reward model's score is read.

    Reads    `chosen` and `rejected`; or prompts and the reward functions.
    Limits   what DPO and its relatives learn from.
    Fails    samples all right or all wrong: few pairs are left, `tokens_trained_share` is missing from the log.
             Pairs that differ in length teach length.
    Source   Rafailov et al. 2023 (arXiv 2305.18290), section 3; own samples as in Guo et al. 2024 (arXiv 2402.04792).
    """
    within("preference-pairs", 2, size=size)
    sampling = from_samples(context, make, lambda e: e.chosen is None or e.rejected is None, "'chosen' or 'rejected'")
    if sampling:
        return lay(sampled(context, size, threshold, choose, writer, train))
    return lay(given(context, train))
