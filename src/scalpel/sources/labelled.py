"""Single answers with good or bad labels, and mismatched answers for KTO's KL estimate."""

from scalpel.batch import DEMONSTRATION, ENVIRONMENT, NEITHER, POLICY, PREFERRED, REJECTED, Batch, Row, pack
from scalpel.binding.bounds import Few
from scalpel.data.tokenized import Tokenized
from scalpel.part import part
from scalpel.rewards.scored import total
from scalpel.sources.context import SourceContext
from scalpel.sources.own_columns import Make, from_samples
from scalpel.sources.sampled import judged, within

Answers = list[tuple[list[int], int]]  # completions of one prompt with their labels


def given(context: SourceContext) -> tuple[list[list[int]], list[Answers]]:
    prompts = [context.tokens.prompt(example.prompt) for example in context.examples]
    answers = [
        [(context.tokens.completion(e.completion or "", e.prompt), PREFERRED if e.label else REJECTED)]
        for e in context.examples
    ]
    return prompts, answers


def sampled(context: SourceContext, size: int, threshold: float) -> tuple[list[list[int]], list[Answers]]:
    prompts, found = judged(context, size)
    answers = [
        [
            (list(s.ids), PREFERRED if r >= threshold else REJECTED)
            for s, rewards in samples
            if (r := total(rewards)) == r
        ]
        for samples in found
    ]
    return prompts, answers


@part("source", "labelled", gives=frozenset({"label"}))
def labelled(context: SourceContext, *, make: Make = "auto", size: Few = 2, threshold: float = 1.0) -> Batch:
    """Single answers with labels, good +1 or bad −1, and for each a mismatched answer with label 0.

    A mismatched row is the prompt with the answer to the next prompt of the batch: from these KTO estimates the KL
    divergence of the policy from the reference.

    `make` "given": the data's `completion` and `label`; "samples": `size` samples a prompt, good if the reward is at
    least `threshold`; "auto": given if the data has labels.

    Reads    `completion` and `label`; or prompts and the reward functions.
    Limits   the mismatched rows are not trained on: an objective must ignore label 0.
    Fails    nearly all labels equal: raise the weight of the rarer ones in `kto`. Few prompts a step: a noisy estimate.
    Source   Ethayarajh et al. 2024 (arXiv 2402.01306), section 4.1; cycled by one as in TRL.
    """
    within("labelled", 1, size=size)
    sampling = from_samples(context, make, lambda e: e.completion is None or e.label is None, "'completion' or 'label'")
    prompts, answers = sampled(context, size, threshold) if sampling else given(context)
    if len(prompts) < 2:
        raise ValueError("source 'labelled' pairs each prompt with the next one's answer: set batch to 2 or more")
    author = POLICY if sampling else DEMONSTRATION
    rows: list[Row] = []
    for group, (example, prompt, mine) in enumerate(zip(context.examples, prompts, answers, strict=True)):
        others = answers[(group + 1) % len(answers)]
        for (completion, label), (mismatched, _) in zip(mine, others, strict=True):
            fitted = [context.fit(joined(prompt, ids), example) for ids in (completion, mismatched)]
            # A mismatched row alone would enter the KL estimate without its pair, so both are dropped.
            if fitted[0] is None:
                continue
            for row, mark in zip(fitted, (label, NEITHER), strict=True):
                if row is not None:
                    authors = [author if trained else ENVIRONMENT for trained in row.train]
                    rows.append(Row(row.ids, row.train, authors, row.turn, group, mark, columns=example.columns))
    return pack(rows)


def joined(prompt: list[int], completion: list[int]) -> Tokenized:
    ids = [*prompt, *completion]
    return Tokenized(ids, [False] * len(prompt) + [True] * len(completion), [0] * len(ids))
