"""Copying of weights between models of the same architecture."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


@torch.no_grad()
def overwrite(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    for name, value in weights.items():
        model.get_parameter(name).copy_(value)


def vocabulary(model: PreTrainedModel) -> int:
    return int(model.get_input_embeddings().weight.shape[0])  # type: ignore[index,arg-type]


def refuse_other_vocabulary(found: PreTrainedModel, model: PreTrainedModel, role: str) -> None:
    if vocabulary(found) != vocabulary(model):
        raise ValueError(f"the {role} model has another vocabulary than the policy: use a model of the same family")


def refuse_other_shape(found: PreTrainedModel, model: PreTrainedModel, what: str) -> None:
    """Raises ValueError unless both have tensors of the same names and shapes."""
    theirs, mine = ({k: x.shape for k, x in m.state_dict().items()} for m in (found, model))
    wrong = sorted(k for k in theirs.keys() | mine.keys() if theirs.get(k) != mine.get(k))
    if wrong:
        raise ValueError(
            f"{what} is another architecture than the model: {len(wrong)} tensors differ, first {wrong[0]}; take a "
            "checkpoint of the same model"
        )
