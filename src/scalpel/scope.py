"""Scope: which parameters may move, and how the optimiser sees them."""

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
    """A tensor that the optimiser moves, and the weight it lives in.

    Dense: `value` is the weight itself. Sparse: `value` holds the entries of the weight at the flat positions
    `index`; the optimiser, its states and clipping see only these.
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
        """The weight's full gradient → that of `value`; before clipping."""
        if self.index is not None and self.weight.grad is not None:
            self.value.grad = self.weight.grad.view(-1)[self.index]
            self.weight.grad = None

    @torch.no_grad()
    def read(self) -> None:
        """The weight → `value`; after weights were put in place from outside."""
        if self.index is not None:
            self.value.copy_(self.weight.view(-1)[self.index])

    @torch.no_grad()
    def scatter(self) -> None:
        """`value` → the weight; after the optimiser's step."""
        if self.index is not None:
            self.weight.view(-1)[self.index] = self.value


IndexMap = Mapping[str, Tensor | None]  # name → position of each new entry among the old ones (−1: new), None: all


@dataclass
class Scope:
    """What a scope part returns when it is attached.

    refresh   (step) → None while nothing changes, else the carry map by which optimiser states follow; it has
              then replaced `trainables`
    penalty   the scope's own term of the loss, if it has one
    fold      puts what was learnt into the plain weights and takes the scope's own modules out again; called
              when the stage is over
    export    (folder) → saves what is the scope's own, such as adapters in PEFT's format; before folding
    off       switches off what the scope added, for a while: the model is then what it was at attach. None where
              that can't be, since its own weights move
    state     tensors and numbers that a resumed run needs; `restore` takes them back
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
    """Modules put into a model: their parameters by name, `fold` (into the plain weights, and out again),
    `export` (folder), and `off`, within which the model's numbers are those without them; None where one sits on the
    head, which is read past the model's own forward pass."""

    parameters: Mapping[str, nn.Parameter]
    fold: Callable[[], None]
    export: Callable[[Path], None]
    off: Callable[[], AbstractContextManager[None]] | None = None


@dataclass(frozen=True)
class ScopeContext:
    """What a scope may not import: the run's seed, and PEFT's way of putting adapters into the model:
    (kind, options, seed) → adapters."""

    seed: int
    adapt: Callable[[str, Mapping[str, Any], int], Adapters]


def freeze_all(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def let_move(model: nn.Module, allowed: Callable[[str, nn.Parameter], bool]) -> list[Trainable]:
    """Freezes everything but the parameters that `allowed` names, which move densely."""
    freeze_all(model)
    trainables = []
    for name, parameter in model.named_parameters():
        if allowed(name, parameter):
            parameter.requires_grad_(True)
            trainables.append(Trainable(name, parameter))
    return trainables
