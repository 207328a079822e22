"""The model on which an implementation is compared with transformers' own before it is used."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn
from transformers import PreTrainedModel

LAYERS = 8  # enough for every pattern in which kinds of layers alternate


def trial_of(model: PreTrainedModel) -> PreTrainedModel:
    """The model itself if its weights are float32; else a float32 copy of its first layers. In 16-bit formats rounding
    accumulates so much that after thirty layers a right result can't be told from a wrong one."""
    if model.dtype == torch.float32 or not model.dtype.is_floating_point:
        return model
    config = model.config.get_text_config()
    place = next((p for p in stacks(model, config.num_hidden_layers)), None)
    if place is None:
        return deepcopy(model).float()
    parent, name, layers = place
    setattr(parent, name, layers[:LAYERS])
    try:
        copy = deepcopy(model).float()
    finally:
        setattr(parent, name, layers)
    copy.config.get_text_config().num_hidden_layers = min(LAYERS, len(layers))
    return copy


def stacks(model: PreTrainedModel, depth: int) -> list[tuple[nn.Module, str, nn.ModuleList]]:
    """Where a model holds a list of so many layers: (module, attribute, list)."""
    return [
        (parent, name, child)
        for parent in model.base_model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == depth
    ]
