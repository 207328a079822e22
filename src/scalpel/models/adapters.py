"""PEFT adapters, inserted into a transformers model in place and removed again.

The model object stays the same, so the engine's forward pass and sampler keep working. Frozen weights are not modified
before `fold`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from scalpel.models.module_names import components_of
from scalpel.registry import unknown
from scalpel.scope import Adapters, freeze_all

KINDS: dict[str, Any] = {"lora": LoraConfig}
NAME = "default"


def adapt(model: PreTrainedModel, kind: str, options: Mapping[str, Any], seed: int) -> Adapters:
    """Freezes the model and adds adapters of that kind to the modules in options["target_modules"].

    Initial values depend on the seed alone. Adapters are kept in float32, whatever the type of the weights. Raises
    ValueError for an unknown kind, and for a tied head: merging would change the embedding too.
    """
    if kind not in KINDS:
        raise ValueError(unknown("kind of adapter", kind, KINDS))
    refuse_tied(model, options["target_modules"])
    config = KINDS[kind](task_type="CAUSAL_LM", **fan(model, options["target_modules"]), **options)
    freeze_all(model)
    devices = [p.device for p in model.parameters() if p.device.type == "cuda"][:1]
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, NAME)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter in parameters.values():
        parameter.data = parameter.data.float()
    on_head = isinstance(model.get_output_embeddings(), BaseTunerLayer)
    return Adapters(parameters, partial(fold, model), partial(export, model), None if on_head else partial(off, model))


def fan(model: nn.Module, targets: Any) -> dict[str, bool]:
    """The option that tells PEFT of transposed weights, as in GPT-2's Conv1D."""
    found = [m for name, m in model.named_modules() if any(f".{name}".endswith(f".{t}") for t in targets)]
    return {"fan_in_fan_out": True} if any(isinstance(m, Conv1D) for m in found) else {}


def refuse_tied(model: PreTrainedModel, targets: Any) -> None:
    ends = [t for t in targets if {"embeddings", "head"} & set(components_of(t))]
    if ends and model.config.get_text_config().tie_word_embeddings:
        raise ValueError(
            f"an adapter on {', '.join(ends)} would change both the embedding and the head, since they are tied in "
            "this model: leave it out of `targets`, or train the embedding with scope 'components'"
        )


def layers(model: nn.Module) -> dict[str, BaseTunerLayer]:
    return {name: m for name, m in model.named_modules() if isinstance(m, BaseTunerLayer)}


@contextmanager
def off(model: nn.Module) -> Iterator[None]:
    """A context manager that disables the adapters. PEFT's `disable_adapters` would also turn requires_grad off and
    then on, even for adapters that are frozen."""
    found = layers(model).values()
    for layer in found:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in found:
            layer._disable_adapters = False


def fold(model: nn.Module) -> None:
    """Merges the adapters into the base weights and removes them, so that the model has its original modules again.
    Raises ValueError if merged weights would not be finite, before that module is changed."""
    found = layers(model)
    for layer in found.values():
        layer.merge(safe_merge=True)
    for name, layer in found.items():
        if name.endswith(".base_layer"):
            continue  # nested adapters of experts: merging the outer one merges both
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, layer.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config


def export(model: PreTrainedModel, folder: Path) -> None:
    """Writes adapter_config.json and adapter_model.safetensors in PEFT's format, for PeftModel.from_pretrained."""
    config: PeftConfig = model.peft_config[NAME]  # type: ignore[index,union-attr,assignment]
    config.base_model_name_or_path = model.name_or_path
    state = get_peft_model_state_dict(model, adapter_name=NAME, save_embedding_layers=False)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"base_model.model.{name}": x.detach().cpu().contiguous() for name, x in state.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(str(folder))
    file = folder / "adapter_config.json"
    said = json.loads(file.read_text(encoding="utf-8"))
    for key in ("target_modules", "target_parameters"):
        if isinstance(said.get(key), list):
            said[key] = sorted(said[key])  # sets in PEFT, whose order differs between runs
    file.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8")
