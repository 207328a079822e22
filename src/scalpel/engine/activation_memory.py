"""What autograd keeps for the backward pass, and how to keep less of it: gradient checkpointing.

A layer that is checkpointed keeps its input alone and is recomputed in the backward pass: less memory, for about a
third more time. Source: Chen et al. 2016 (arXiv 1604.06174).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

log = logging.getLogger("scalpel")
FEW, MORE = 8, 24  # tokens of the two passes that are compared


class SavedActivations:
    """Bytes that autograd keeps, storage by storage, without those of `model`'s parameters, which exist anyway."""

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
    """Bytes that the layers keep for each token of a forward pass in the current precision. Two short passes are
    measured and subtracted, so that what doesn't grow with tokens, such as weights that were cast, is left out."""
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
    """The same with gradient checkpointing: the input of each layer in float32, and all that one layer keeps."""
    config = model.config.get_text_config()
    return 4.0 * config.num_hidden_layers * config.hidden_size + kept / config.num_hidden_layers


@contextmanager
def running_twice(model: nn.Module) -> Iterator[None]:
    """Within this context layers run with gradient checkpointing. The model's attributes are restored afterwards."""
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


@dataclass
class ActivationBudget:
    """How many bytes layers may keep for a backward pass, and how many they keep for a token."""

    available: float = inf
    kept: float = 0.0

    def within(self, model: nn.Module, tokens: int) -> AbstractContextManager:
        """The context for a forward pass over so many tokens: with gradient checkpointing where the budget is short."""
        if not torch.is_grad_enabled() or self.kept * tokens <= self.available:
            return nullcontext()
        if self.available > 0.0:
            mega, available = self.kept * tokens / 1e6, max(self.available, 0.0) / 1e6
            log.info(
                "gradient checkpointing: %d tokens would keep %.0f MB, of %.0f MB available", tokens, mega, available
            )
            self.available = 0.0  # logged once; a stage that is short of memory stays so
        return running_twice(model)
