"""What a way of computing is tried on."""

import pytest
import torch

import tiny
from scalpel.engine.decoders import hindrance
from scalpel.engine.fp32_probe import LAYERS, trial_of
from scalpel.engine.packed_forward import obstacle


def test_a_model_in_float32_is_tried_itself():
    m = tiny.model("llama")
    assert trial_of(m) is m


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3_text"])
def test_of_sixteen_bits_the_first_layers_are_tried_in_float32(kind):
    depth = {"n_layer" if kind == "gpt2" else "num_hidden_layers": LAYERS + 2}
    m = tiny.model(kind, **depth).bfloat16()
    before = {name: id(p) for name, p in m.named_parameters()}
    copy = trial_of(m)
    assert copy.dtype == torch.float32 and m.dtype == torch.bfloat16
    assert copy.config.num_hidden_layers == LAYERS and m.config.num_hidden_layers == LAYERS + 2
    assert {name: id(p) for name, p in m.named_parameters()} == before
    ids = torch.ones(1, 3, dtype=torch.long)
    assert copy(ids).logits.shape == m(ids).logits.shape


@pytest.mark.parametrize("kind", ["llama", "qwen3", "mistral"])
def test_sixteen_bits_hinder_nothing_and_leave_the_model_as_it_was(kind):
    m = tiny.model(kind, num_hidden_layers=LAYERS + 2).bfloat16().train()
    assert obstacle(m) == "" and hindrance(m, 0) == ""
    assert m.training and all(module.training for module in m.modules())
