"""What autograd keeps for the backward pass, and how to keep less of it: layers that run twice.

A layer that is checkpointed keeps its input alone and runs once more in the backward pass: memory for about a third
more time. Source: Chen et al. 2016 (arXiv 1604.06174).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

FEW, MORE = 8, 24  # tokens on which it is counted


class SavedActivations:
    """Bytes that autograd keeps, storage by storage; those of `model`'s own parameters are there anyway."""

    def __init__(self, model: nn.Module) -> None:
        self.bytes = 0.0
        self.seen = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in self.seen:
            self.seen.add(storage.data_ptr())
            self.bytes += x.numel() * x.element_size()
        return x

    def counting(self) -> Any:
        return torch.autograd.graph.saved_tensors_hooks(self.keep, lambda x: x)


def kept_a_token(model: PreTrainedModel) -> float:
    """Bytes that the layers keep for each token of a forward pass in the present precision; tried on a few tokens, of
    which a fixed part, such as weights that were cast, is taken off."""
    found = []
    for tokens in (FEW, MORE):
        saved, ids = (
            SavedActivations(model),
            torch.ones(1, tokens, dtype=torch.long, device=next(model.parameters()).device),
        )
        with torch.random.fork_rng(), torch.enable_grad(), saved.counting():
            model.base_model(ids, use_cache=False)
        found.append(saved.bytes)
    return (found[1] - found[0]) / (MORE - FEW)


def kept_twice(model: PreTrainedModel, kept: float) -> float:
    """The same where layers run twice: the input of each in float32, and one layer at a time."""
    config = model.config.get_text_config()
    return 4.0 * config.num_hidden_layers * config.hidden_size + kept / config.num_hidden_layers


@contextmanager
def running_twice(model: nn.Module) -> Iterator[None]:
    """Layers that go forward in here keep their input alone. The model is then what it was."""
    layers = [m for m in model.modules() if hasattr(m, "gradient_checkpointing")]
    before = [dict(vars(m)) for m in layers]
    try:
        for m in layers:
            m.gradient_checkpointing = True  # type: ignore[assignment]
            m._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)  # type: ignore[assignment]
        yield
    finally:
        for m, was in zip(layers, before, strict=True):
            for name in ("gradient_checkpointing", "_gradient_checkpointing_func"):
                vars(m).pop(name, None)
                vars(m).update({name: was[name]} if name in was else {})
