"""Preference pairs."""

from collections.abc import Sequence
from typing import Any, Literal

from scalpel.batch import PREFERRED, REJECTED, Batch, Row, pack
from scalpel.binding.bounds import Few
from scalpel.data.closed import closed
from scalpel.data.example import Example, located, place
from scalpel.data.tokenized import Tokenized
from scalpel.part import part
from scalpel.sources.best_and_worst import Choose, pair_of
from scalpel.sources.context import SourceContext
from scalpel.sources.own_columns import Make, from_samples
from scalpel.sources.sampled import judged, rendered_row, sample_row, within

Trained = Literal["answer", "last"]


def rows_of(context: SourceContext, example: Example, group: int, pair: Sequence[Tokenized]) -> list[Row]:
    """Both rows of a pair; none if one was dropped for its length."""
    chosen, rejected = (context.fit(row, example) for row in pair)
    if chosen is None or rejected is None:
        return []
    return [rendered_row(chosen, example, group, PREFERRED), rendered_row(rejected, example, group, REJECTED)]


def whole(context: SourceContext, example: Example, answers: Sequence[str]) -> list[Tokenized]:
    """The prompt with each answer, up to the end that the chat template writes."""
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


def sampled(
    context: SourceContext, size: int, threshold: float, choose: Choose, writer: str, train: Trained
) -> list[Row]:
    rows: list[Row] = []
    prompts, found = judged(context, size, writer)
    for group, (example, prompt, samples) in enumerate(zip(context.examples, prompts, found, strict=True)):
        pair = pair_of(samples, choose, threshold)
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
    """Preference pairs: two answers to each prompt, one preferred and one rejected; each pair is a group.

    `make` "given": the pairs of the data; "samples": the first of `size` samples with a reward of `threshold` or more
    and the first with less, or, with `choose` "extremes", the best and the worst sample; prompts without a difference
    are skipped; "auto": given if the data has pairs. `writer` is the policy or another role that samples.
    `train` "answer": the tokens of both answers; "last": both conversations up to the end that the chat template
    writes, with their last token alone trained, at which a reward model's score is read.

    Reads    `chosen` and `rejected`; or prompts and the reward functions.
    Limits   the training data of DPO and related objectives.
    Fails    samples all correct or all incorrect: few pairs are left, `tokens_trained_share` is missing from the log.
             Pairs that differ in length train length (length bias).
    Source   Rafailov et al. 2023 (arXiv 2305.18290), section 3; own samples as in Guo et al. 2024 (arXiv 2402.04792).
    """
    within("preference-pairs", 2, size=size)
    sampling = from_samples(context, make, lambda e: e.chosen is None or e.rejected is None, "'chosen' or 'rejected'")
    if sampling:
        return pack(sampled(context, size, threshold, choose, writer, train))
    return pack(given(context, train))
