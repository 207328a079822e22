"""Scope: which parameters are trainable, and how the optimiser sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Trainable:
    """A tensor that the optimiser updates, and the weight that it belongs to.

    Dense: `value` is the weight itself. Sparse: `value` is a copy of the entries of the weight at the flat positions
    `index`; the optimiser, its states and gradient clipping see only these. `gather` before clipping and `scatter`
    after the step keep the two equal; a step without both would leave the weight unchanged.
    """

    name: str
    weight: nn.Parameter
    index: Tensor | None = None
    value: nn.Parameter = field(init=False)

    def __post_init__(self) -> None:
        if self.index is None:
            self.value = self.weight
        else:
            self.value = nn.Parameter(self.weight.detach().view(-1)[self.index].clone())

    def gather(self) -> None:
        """Copies the gradient of the selected entries from the weight to `value`, before clipping."""
        # The weight's own gradient is dropped, so that it neither enters the norm for clipping nor is held in memory.
        if self.index is not None and self.weight.grad is not None:
            self.value.grad = self.weight.grad.view(-1)[self.index]
            self.weight.grad = None

    @torch.no_grad()
    def read(self) -> None:
        """Copies the selected entries from the weight to `value`, after the weight was set from outside."""
        if self.index is not None:
            self.value.copy_(self.weight.view(-1)[self.index])

    @torch.no_grad()
    def scatter(self) -> None:
        """Copies `value` to the selected entries of the weight, after the optimiser's step."""
        if self.index is not None:
            self.weight.view(-1)[self.index] = self.value


IndexMap = Mapping[str, Tensor | None]  # name → position of each new entry among the old ones (−1: new), None: all


@dataclass
class Scope:
    """What a scope part returns when it is attached to a model.

    refresh   (step) → None if the selection doesn't change; else it has replaced `trainables`, and returns the index
              map by which the optimiser states of entries that stay trainable are carried over
    penalty   the scope's own term of the loss, if it has one
    fold      merges what was learnt into the plain weights and removes the scope's own modules; called at the end of
              the stage
    export    (folder) → saves what belongs to the scope, such as adapters in PEFT's format; before folding
    off       a context manager that disables what the scope added, so that the model is what it was at attach. None
              where that is impossible, because the scope trains the model's own weights
    state     tensors and numbers that a resumed run needs; `restore` loads them
    """

    trainables: list[Trainable]
    refresh: Callable[[int], IndexMap | None] = lambda step: None
    penalty: Callable[[], Tensor | None] = lambda: None
    fold: Callable[[], None] = lambda: None
    export: Callable[[Path], None] | None = None
    off: Callable[[], AbstractContextManager[None]] | None = None
    state: Callable[[], dict[str, Any]] = dict
    restore: Callable[[Mapping[str, Any]], None] = lambda state: None


@dataclass(frozen=True)
class Adapters:
    """Adapters inserted into a model: their parameters by name, `fold` (merges them into the weights and removes them),
    `export` (folder), and `off`, a context manager that disables them; None where the head has one, since the engine
    reads the head outside of the model's own forward pass, where PEFT can't disable it."""

    parameters: Mapping[str, nn.Parameter]
    fold: Callable[[], None]
    export: Callable[[Path], None]
    off: Callable[[], AbstractContextManager[None]] | None = None


@dataclass(frozen=True)
class ScopeContext:
    """What a scope gets because it may not import it: the seed of the run, and a function that inserts PEFT adapters
    into the model, (kind, options, seed) → adapters."""

    seed: int
    adapt: Callable[[str, Mapping[str, Any], int], Adapters]


def freeze_all(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def train_only(model: nn.Module, allowed: Callable[[str, nn.Parameter], bool]) -> list[Trainable]:
    """Makes the parameters for which `allowed(name, parameter)` is true trainable, and freezes all others."""
    freeze_all(model)
    trainables = []
    for name, parameter in model.named_parameters():
        if allowed(name, parameter):
            parameter.requires_grad_(True)
            trainables.append(Trainable(name, parameter))
    return trainables
