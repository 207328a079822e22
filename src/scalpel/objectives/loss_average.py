"""How losses are averaged over tokens and sequences, and over those of one author where a batch has several."""

from typing import Literal

from torch import Tensor

from scalpel.batch import Batch
from scalpel.credits.written_by import AUTHORS
from scalpel.part import COUNTS

# The average decides how an answer's length affects its weight. "sequence": each answer has the same weight, so tokens
# of a long one count less, and a long wrong answer is punished less per token than a short one. "token": each token has
# the same weight, so long answers dominate. "constant": the divisor doesn't depend on what was sampled, which leaves
# the policy gradient unbiased up to a factor.
Average = Literal["sequence", "token", "constant"]
Per = Literal["all", "policy", "demonstration"]

LENGTH = {"length": "sampling.max_tokens"}  # the default of `length`, for average = "constant"


def by_author(batch: Batch, per: Per) -> Tensor:
    """[N]: the trained tokens of all authors, or those of one."""
    return batch.train_N if per == "all" else batch.train_N & (batch.author_N == AUTHORS[per])


def token_count(batch: Batch, *, per: Per = "all", **other: float | None) -> float:
    """The trained tokens of all authors, or those of one."""
    return COUNTS["tokens"](batch) if per == "all" else float(by_author(batch, per).sum())


def sequence_count(batch: Batch, per: Per) -> float:
    """The sequences of the batch, or those in which that author wrote a trained token."""
    return float(batch.S) if per == "all" else float((batch.sum_S(by_author(batch, per).float()) > 0).sum())


def average_count(
    batch: Batch,
    *,
    average: Average = "sequence",
    length: int | None = None,
    per: Per = "all",
    **other: float | None,
) -> float:
    """The divisor of the loss: sequences, tokens, or sequences times a fixed length. It must be known before the
    forward pass, since the gradient of each micro-batch is scaled by it."""
    if average == "token":
        return token_count(batch, per=per)
    if average == "sequence":
        return sequence_count(batch, per)
    if length is None:
        raise ValueError("average = 'constant' divides by a length: give `length`, or bind the part in a stage")
    return sequence_count(batch, per) * length
