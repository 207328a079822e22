"""Validation during a stage: accuracy on tuning items, early stopping, and restoring the best weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from scalpel.config.recipe import ValidateSpec
from scalpel.data.example import Example, Task
from scalpel.engine import Engine, Sampling


@dataclass
class Validation:
    """The best accuracy so far, the number of validations since then, and the weights that had it.

    With `patience` 0 there is no early stopping, and no weights are kept. A tie is no improvement, so the earlier
    weights stay. The samples of validation count as cost of the run, since they influence its result.
    """

    spec: ValidateSpec | None
    best: float = -1.0
    best_step: int = 0
    waited: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def keeps(self) -> bool:
        return self.spec is not None and self.spec.patience > 0

    @property
    def exhausted(self) -> bool:
        """Whether early stopping ends the stage: there was no improvement in `patience` validations."""
        return self.spec is not None and 0 < self.spec.patience <= self.waited

    def due(self, step: int) -> bool:
        return self.spec is not None and step % self.spec.every == 0

    def note(self, accuracy: float, step: int, moved: Mapping[str, Tensor]) -> None:
        """Records the accuracy of a validation; `moved` are the parameters that were trainable so far."""
        if accuracy <= self.best:
            self.waited += 1
            return
        self.best, self.best_step, self.waited = accuracy, step, 0
        if self.keeps:
            self.weights = {name: x.detach().clone() for name, x in moved.items()}

    def also(self, name: str, weight: Tensor) -> None:
        """Adds a weight that becomes trainable after the best validation: its present value is also that of then."""
        if self.keeps and self.weights:
            self.weights.setdefault(name, weight.detach().clone())

    @torch.no_grad()
    def go_back(self, named: Mapping[str, Tensor]) -> None:
        """Restores the best weights, if any were kept, in these parameters."""
        for name, value in self.weights.items():
            named[name].copy_(value)

    def state(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "spec"}

    def restore(self, saved: Mapping[str, Any], device: torch.device) -> None:
        vars(self).update(saved)
        self.weights = {name: x.to(device) for name, x in saved["weights"].items()}


def accuracy(engine: Engine, task: Task, examples: Sequence[Example], sampling: Sampling) -> float:
    """The share of examples whose greedy completion is right."""
    prompts = [engine.tokens.prompt(example.prompt) for example in examples]
    samples = engine.sample(prompts, replace(sampling, temperature=0.0))
    texts = [engine.tokens.text(group[0].ids) for group in samples]
    solved = sum(task.score(text, example) >= 1.0 for text, example in zip(texts, examples, strict=True))
    return solved / len(examples)
