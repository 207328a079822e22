"""Weight change by hand, and every parameter of four families in its place."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from scalpel.pair import Pair
from scalpel.pair.anatomy import change, component, table

PLACES = {
    "model.embed_tokens.weight": ("embeddings", None),
    "model.layers.3.self_attn.q_proj.weight": ("q", 3),
    "model.layers.3.self_attn.q_proj.bias": ("biases", 3),
    "model.layers.12.self_attn.o_proj.weight": ("o", 12),
    "model.layers.0.mlp.gate_proj.weight": ("gate", 0),
    "model.layers.0.input_layernorm.weight": ("norms", 0),
    "model.layers.0.self_attn.q_norm.weight": ("norms", 0),
    "model.layers.0.mlp.experts.7.up_proj.weight": ("experts up", 0),
    "model.language_model.layers.2.mlp.down_proj.weight": ("down", 2),
    "model.norm.weight": ("norms", None),
    "lm_head.weight": ("head", None),
    "transformer.wte.weight": ("embeddings", None),
    "transformer.wpe.weight": ("positions", None),
    "transformer.h.1.attn.c_attn.weight": ("q+k+v", 1),
    "transformer.h.1.attn.c_attn.bias": ("biases", 1),
    "transformer.h.1.attn.c_proj.weight": ("o", 1),
    "transformer.h.1.mlp.c_fc.weight": ("up", 1),
    "transformer.h.1.mlp.c_proj.weight": ("down", 1),
    "transformer.h.1.ln_2.bias": ("norms", 1),
    "transformer.ln_f.weight": ("norms", None),
    "model.layers.4.mixer.in_proj.weight": ("in_proj", 4),
}


@pytest.mark.parametrize("name", PLACES)
def test_every_name_has_its_place(name):
    assert component(name) == PLACES[name]


SMALL = dict(hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1)
FAMILIES = {
    "llama": SMALL,
    "qwen3": SMALL | {"head_dim": 4},
    "gemma3_text": SMALL | {"head_dim": 4},
    "gpt2": {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_parameter_of_a_real_model_has_a_known_component(family):
    from scalpel.pair.anatomy.component import ORDER

    config = AutoConfig.for_model(family, vocab_size=16, **FAMILIES[family])
    model = AutoModelForCausalLM.from_config(config)
    state = dict(model.named_parameters())
    found = table(change(Pair(state, state)))
    assert set(found["components"]) <= set(ORDER) and found["layers"] == ["0", "1", ""]
    assert found["components"] == sorted(found["components"], key=ORDER.index)
    assert all(cell in (0.0, None) for line in found["relative"] for cell in line)


def pair():
    base = {
        "model.layers.0.self_attn.q_proj.weight": torch.tensor([[3.0, 4.0]]),
        "model.layers.1.self_attn.q_proj.weight": torch.tensor([[1.0, 0.0]]),
        "model.layers.1.input_layernorm.weight": torch.tensor([2.0]),
        "model.layers.1.post_attention_layernorm.weight": torch.tensor([0.0]),
        "model.norm.weight": torch.tensor([0.0]),
        "steps": torch.tensor(3),
    }
    tuned = {name: tensor.clone() for name, tensor in base.items()}
    tuned["model.layers.0.self_attn.q_proj.weight"] = torch.tensor([[3.0, 4.5]])
    tuned["model.layers.1.input_layernorm.weight"] = torch.tensor([1.0])
    return Pair(base, tuned)


def test_relative_change_is_frobenius_over_frobenius():
    first, second, *rest = change(pair())
    assert (first.base_norm, first.change_norm, first.relative) == (5.0, 0.5, 0.1)
    assert (first.entries, first.moved, first.moved_bf16) == (2, 0.5, 0.5)
    assert second.relative == 0.0 and len(rest) == 3  # the counter is no weight
    assert first.row()["relative"] == 0.1 and first.row()["component"] == "q"


def test_several_tensors_of_one_component_are_one_matrix():
    found = table(change(pair()))
    assert found["components"] == ["q", "norms"] and found["layers"] == ["0", "1", ""]
    # layer 1's two norms: √(1² + 0²) / √(2² + 0²); a tensor of zeros alone has no relative change
    assert found["relative"] == [[0.1, 0.0, None], [None, 0.5, None]]
    assert found["moved"] == [[0.5, 0.0, None], [None, 0.5, 0.0]]
    assert found["total"]["relative"] == pytest.approx((1.25 / 30) ** 0.5)
    assert found["total"]["moved"] == pytest.approx(2 / 7)


def test_a_scaled_matrix_moved_by_its_scale():
    base = {"w.weight": torch.randn(6, 6, generator=torch.Generator().manual_seed(0))}
    found = change(Pair(base, {"w.weight": 1.25 * base["w.weight"]}))[0]
    assert found.relative == pytest.approx(0.25) and found.moved == 1.0


def test_a_change_below_bfloat16_rounding_is_seen_and_told_apart():
    base = {"w.weight": torch.ones(4)}
    found = change(Pair(base, {"w.weight": torch.full((4,), 1.0001)}))[0]
    assert (found.moved, found.moved_bf16) == (1.0, 0.0)
