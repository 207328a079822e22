"""Preference pairs."""

from collections.abc import Callable
from typing import Literal

from scalpel.batch import PREFERRED, REJECTED, Batch, Row, lay
from scalpel.draw import Draw
from scalpel.part import part
from scalpel.sources.sampled import judged, rendered_row, sample_row, total

Make = Literal["auto", "given", "samples"]


def from_samples(draw: Draw, make: Make, missing: Callable[..., bool], columns: str) -> bool:
    """Whether rows are to be sampled. "auto" takes the data's own columns unless none of the examples has them."""
    lacking = [i for i, example in enumerate(draw.examples) if missing(example)]
    if make == "samples" or (make == "auto" and len(lacking) == len(draw.examples)):
        return True
    if lacking:
        example = draw.examples[lacking[0]]
        raise ValueError(
            f'example {example.id or lacking[0]!r} lacks {columns}: complete the data, or set make = "samples" in '
            "the source, which has the policy write answers that the task's verifier judges"
        )
    return False


def given(draw: Draw) -> list[Row]:
    rows: list[Row] = []
    for group, example in enumerate(draw.examples):
        chosen, rejected = map(draw.fit, draw.tokens.pair(example))
        if chosen is not None and rejected is not None:
            rows.append(rendered_row(chosen, example, group, PREFERRED))
            rows.append(rendered_row(rejected, example, group, REJECTED))
    return rows


def sampled(draw: Draw, size: int, threshold: float) -> list[Row]:
    rows: list[Row] = []
    prompts, found = judged(draw, size)
    for group, (example, prompt, samples) in enumerate(zip(draw.examples, prompts, found, strict=True)):
        right = next((s for s, rewards in samples if total(rewards) >= threshold), None)
        wrong = next((s for s, rewards in samples if total(rewards) < threshold), None)
        if right is not None and wrong is not None:
            rows.append(sample_row(prompt, right, example, group, label=PREFERRED))
            rows.append(sample_row(prompt, wrong, example, group, label=REJECTED))
    return rows


@part("source", "preference-pairs", gives=frozenset({"pair"}))
def preference_pairs(draw: Draw, *, make: Make = "auto", size: int = 8, threshold: float = 1.0) -> Batch:
    """Two answers to each prompt, one labelled as preferred and one as rejected; each pair is a group.

    `make` "given": the data's own; "samples": the first of `size` samples with a reward of `threshold` or more
    against the first with less, prompts without both being skipped; "auto": given where the data has pairs.

    Reads    `chosen` and `rejected`; or prompts and the reward functions.
    Limits   what DPO and its relatives learn from.
    Fails    samples all right or all wrong: few pairs are left, `tokens_trained_share` is missing from the log.
             Pairs that differ in length teach length.
    Source   Rafailov et al. 2023 (arXiv 2305.18290), section 3; own samples as in Guo et al. 2024 (arXiv 2402.04792).
    """
    sampling = from_samples(draw, make, lambda e: e.chosen is None or e.rejected is None, "'chosen' or 'rejected'")
    return lay(sampled(draw, size, threshold) if sampling else given(draw))
