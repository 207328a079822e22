"""The context in which an anchor on parameters estimates the importance of newly trainable weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from scalpel.batch import Batch


@dataclass(frozen=True)
class ImportanceContext:
    """The means to estimate how important each weight is.

    names    the weights that become trainable
    texts    (source, task, n) → a batch from a source, as a recipe names it, on n examples of a task (that of the
    recipe
             where it is None)
    squares  (batch) → for each of those weights Σ over sequences of (∂ log π(y) / ∂θ)², elementwise, where y are the
             trained tokens of a sequence. Squares of sums of gradients over sequences would be no Fisher information.
    """

    names: frozenset[str]
    texts: Callable[[Any, Mapping[str, Any] | None, int], Batch]
    squares: Callable[[Batch], dict[str, Tensor]]
