"""The cost of a backward pass, which runs only down to the lowest trainable weight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from scalpel.models.module_names import components_of

TOKENS = 4  # tokens of the forward pass in which the matrices are observed


@dataclass(frozen=True)
class BackwardCost:
    """The FLOPs of a backward pass as multiples of those of the forward pass, for matrices and for attention."""

    linear: float = 2.0
    attention: float = 2.0


@dataclass
class Seen:
    """Which matrices had an input that requires a gradient, and which layers an attention output that does."""

    model: nn.Module
    forward: int = 0  # parameters, as all that follow
    backward: int = 0
    attended: list[bool] = field(default_factory=list)  # layer by layer
    entered: list[bool] = field(default_factory=list)  # matrix by matrix

    def note(self, name: str, matrices: list[nn.Parameter], moves: bool) -> None:
        """A product y = W x: dx = Wᵀ dy if x requires a gradient, dW = dy xᵀ if W does; each costs as much as y."""
        self.forward += sum(p.numel() for p in matrices)
        self.backward += sum(p.numel() * (moves + p.requires_grad) for p in matrices)
        self.entered.append(moves)
        if "o" in components_of(name) and ".lora_" not in name:
            self.attended.append(moves)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within this context every matrix product of the model's body is recorded."""
        hooks = []
        for name, module in self.model.named_modules():
            matrices = [p for p in module.parameters(recurse=False) if p.dim() >= 2]
            if matrices and not isinstance(module, nn.Embedding):

                def hook(module: nn.Module, args: Any, name: str = name, found: list = matrices) -> None:
                    self.note(name, found, any(isinstance(x, Tensor) and x.requires_grad for x in args))

                hooks.append(module.register_forward_pre_hook(hook))
        try:
            yield
        finally:
            for handle in hooks:
                handle.remove()


def backward_cost(model: PreTrainedModel) -> BackwardCost:
    """The cost of a backward pass with the present trainable weights, observed on a few tokens."""
    seen, training = Seen(model), model.training
    ids = torch.arange(1, TOKENS + 1, device=next(model.parameters()).device)[None]
    model.eval()
    with seen.watching(), torch.enable_grad():
        hidden = model.base_model(ids, use_cache=False).last_hidden_state
    model.train(training)
    head = model.get_output_embeddings()
    seen.note("head", [p for p in head.parameters() if p.dim() >= 2], hidden.requires_grad)
    attended = seen.attended or seen.entered
    return BackwardCost(seen.backward / seen.forward, 2.0 * sum(attended) / len(attended))
