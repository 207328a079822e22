"""How the clipped and shaped policy gradients average their loss over tokens and sequences."""

from typing import Literal

from scalpel.batch import Batch
from scalpel.part import COUNTS

Average = Literal["sequence", "token", "constant"]


LENGTH = {"length": "sampling.max_tokens"}  # the default of `length`, for average = "constant"


def average_count(
    batch: Batch, *, average: Average = "sequence", length: int | None = None, **other: float | None
) -> float:
    """The divisor of the loss: sequences, tokens, or sequences times a fixed length. It must be known before the
    forward pass, since the gradient of each micro-batch is scaled by it."""
    if average != "constant":
        return COUNTS["tokens"](batch) if average == "token" else float(batch.S)
    if length is None:
        raise ValueError("average = 'constant' divides by a length: give `length`, or bind the part in a stage")
    return float(batch.S * length)
