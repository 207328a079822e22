"""Lean layers give the values of the layers they replace, bit for bit, the same gradients, and keep less."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from transformers import PreTrainedModel

import tiny
from scalpel.engine.activation_memory import SavedActivations, running_twice
from scalpel.engine.recompute_layers import recompute_layers
from scalpel.models.adapters import adapt

LEAN = ["llama", "qwen2", "qwen3", "mistral"]
tiny.SHAPES.setdefault("mistral", {**tiny.COMMON, "sliding_window": None})
IDS = torch.randint(0, 263, (2, 12), generator=torch.Generator().manual_seed(0))
WIDE = dict(hidden_size=64, intermediate_size=160, num_attention_heads=4, head_dim=16)  # bfloat16 needs some width


def pairs(kind: str, **changes) -> tuple[PreTrainedModel, PreTrainedModel]:
    """A model as it is and the same one lean, with norms that aren't one."""
    own = tiny.model(kind, **changes)
    torch.manual_seed(1)
    for name, parameter in own.named_parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=0.0 if name.endswith("bias") else 1.0, std=0.3)
    thin = deepcopy(own)
    assert recompute_layers(thin) == 2 * 10  # two norms, an MLP and seven linear maps a layer
    return own.train(), thin.train()


def ran(model: PreTrainedModel, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Hidden states, and the gradients of a loss on them."""
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        hidden = model.base_model(IDS, use_cache=False).last_hidden_state
    (hidden.float() * torch.linspace(-1, 1, hidden.numel()).view(hidden.shape)).sum().backward()
    return hidden.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Between two models' gradients, relative to the second's."""
    assert one.keys() == other.keys()
    gap = sum(float((one[n] - other[n]).square().sum()) for n in one)
    return (gap / sum(float(g.square().sum()) for g in other.values())) ** 0.5


@pytest.mark.parametrize("kind", LEAN)
def test_in_float32_values_are_equal_and_gradients_to_rounding(kind):
    own, thin = pairs(kind)
    (h, g), (h_lean, g_lean) = ran(own), ran(thin)
    assert torch.equal(h, h_lean) and g.keys() == g_lean.keys()
    for name in g:
        torch.testing.assert_close(g_lean[name], g[name], rtol=1e-5, atol=1e-5 * float(g[name].abs().max()))


@pytest.mark.parametrize("kind", LEAN)
def test_in_bfloat16_values_are_equal_and_gradients_as_near_the_exact_ones(kind):
    own, thin = pairs(kind, **WIDE)
    exact = ran(own)[1]
    (h, g), (h_lean, g_lean) = ran(own, torch.bfloat16), ran(thin, torch.bfloat16)
    assert torch.equal(h, h_lean)
    assert 0 < distance(g_lean, exact) < 1.05 * distance(g, exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_less_is_kept_for_the_backward_pass(dtype):
    kept = []
    for model in pairs("llama", **WIDE):
        saved = SavedActivations(model)
        with saved.counting(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            model.base_model(IDS, use_cache=False)
        kept.append(saved.bytes)
    assert kept[1] < 0.6 * kept[0]


def test_micro_batches_add_up():
    own, thin = pairs("llama")
    for model in (own, thin):
        for _ in range(2):
            model.base_model(IDS, use_cache=False).last_hidden_state.square().sum().backward()
    for mine, theirs in zip(thin.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-5 * float(theirs.grad.abs().max()))


@pytest.mark.parametrize("part", ["q_proj", "down_proj", "layernorm", "layers.1"])
def test_what_is_frozen_gets_no_gradient_and_the_rest_the_same(part):
    own, thin = pairs("qwen2")
    for model in (own, thin):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(part in name)
    g, g_lean = ran(own)[1], ran(thin)[1]
    assert g_lean and all(part in name for name in g_lean) and distance(g_lean, g) < 1e-5


def test_adapters_stand_on_lean_layers():
    own, thin = pairs("llama")
    found = []
    for model in (own, thin):
        adapters = adapt(model, "lora", {"r": 2, "target_modules": ["q_proj", "down_proj"]}, 0)
        with torch.no_grad():
            for parameter in adapters.parameters.values():
                parameter.add_(0.1)
        found.append(ran(model))
        adapters.fold()
    assert torch.equal(found[0][0], found[1][0]) and distance(found[1][1], found[0][1]) < 1e-5
    assert all(torch.equal(x, y) for x, y in zip(own.state_dict().values(), thin.state_dict().values(), strict=True))


def test_checkpointed_layers_stay_lean_when_they_run_again():
    thin = pairs("llama")[1]
    expected = ran(thin)[1]
    with running_twice(thin):
        assert distance(ran(thin)[1], expected) == 0.0


def test_checkpointed_layers_hold_nothing_of_what_their_modules_gave():
    thin = pairs("llama")[1]
    given: list[StorageWeakRef] = []
    for layer in thin.model.layers:
        for module in (layer.input_layernorm, layer.mlp.gate_proj, layer.self_attn.q_proj):
            module.register_forward_hook(lambda *x: given.append(StorageWeakRef(x[-1].untyped_storage())))
    with running_twice(thin):
        hidden = thin.base_model(IDS, use_cache=False).last_hidden_state
    assert hidden.requires_grad and len(given) == 6 and all(storage.expired() for storage in given)


@pytest.mark.parametrize("kind", ["gemma2", "gemma3_text", "gpt2"])
def test_what_is_not_known_is_left_alone(kind):
    model = tiny.model(kind)
    before = [type(m) for m in model.modules()]
    assert recompute_layers(model) == 0 and [type(m) for m in model.modules()] == before


def test_another_gate_is_left_alone():
    model = tiny.model("llama", hidden_act="gelu")
    assert recompute_layers(model) == 2 * 9 and not any(
        "Lean" in str(type(layer.mlp).__mro__) for layer in model.model.layers
    )


def test_a_second_time_there_is_nothing_left_to_change():
    model = tiny.model("llama")
    before, names = [type(m) for m in model.modules()], list(model.state_dict())
    recompute_layers(model)
    assert recompute_layers(model) == 0  # there is nothing left to change
    assert list(model.state_dict()) == names and [type(m) for m in model.modules()] != before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_a_gradient_the_numbers_are_the_same_and_nothing_is_held(dtype):
    thin = pairs("llama")[1]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        x = thin.model.layers[0].input_layernorm(torch.ones(1, 3, 16))
        hidden = thin.base_model(IDS, use_cache=False).last_hidden_state
    assert not hasattr(x, "again") and x.dtype == dtype
    assert torch.equal(hidden, ran(thin, dtype)[0])
