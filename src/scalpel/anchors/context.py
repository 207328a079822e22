"""What an anchor on parameters is handed where weights begin to move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from scalpel.batch import Batch


@dataclass(frozen=True)
class ImportanceContext:
    """`names` are the weights that begin to move. `texts(source, task, n)` draws from a source, as named in a recipe,
    on n examples of a task (the recipe's own where it is None). `squares(batch)` gives for each of those weights
    Σ over sequences of (∂ log π(y) / ∂θ)², entry by entry, y the trained tokens of a sequence."""

    names: frozenset[str]
    texts: Callable[[Any, Mapping[str, Any] | None, int], Batch]
    squares: Callable[[Batch], dict[str, Tensor]]
