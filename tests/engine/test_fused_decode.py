"""A token a row through known layers: the modules' own numbers, and only where nothing else hangs on them."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model

import tiny
from scalpel.engine.decoders import Decoder
from scalpel.engine.fused_decode import known, norm
from scalpel.engine.recompute_layers import recompute_layers

PROMPTS = [[9, 10, 11], [40], [7, 8]]
KNOWN = {"llama", "mistral", "qwen2", "qwen3"}


def model(kind="llama"):
    return tiny.model(kind, initializer_range=0.3)


def adapted():
    adapters = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    return inject_adapter_in_model(adapters, model()).eval()


def leaned():
    m = model()
    assert recompute_layers(m)
    return m


@pytest.mark.parametrize("kind", sorted(tiny.SHAPES))
def test_families_are_known_by_their_modules(kind):
    assert known(model(kind)) == (kind in KNOWN)


@pytest.mark.parametrize("make", [model, lambda: model("qwen3"), adapted, leaned])
@torch.no_grad()
def test_it_computes_what_the_modules_compute(make):
    m = make()
    ways = [Decoder(m, 2, 3, 3, 8) for _ in range(2)]
    ways[1].known = False
    for way in ways:
        way.enter(PROMPTS)
    assert ways[0].known
    for token in range(50, 56):
        ours, theirs = (way.advance(torch.arange(token, token + 6)) for way in ways)
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)


def test_a_module_on_which_something_hangs_is_not_passed_over():
    m = model()
    hook = m.model.layers[1].mlp.register_forward_hook(lambda *args: None)
    assert not known(m)
    hook.remove()
    assert known(m)
    m.model.layers[0].self_attn.forward = lambda *args, **more: None
    assert not known(m)


def test_a_norm_is_the_modules():
    module = model().model.norm
    torch.nn.init.normal_(module.weight)
    for x in (torch.randn(5, len(module.weight)), torch.zeros(1, len(module.weight))):
        torch.testing.assert_close(norm(module, x), module(x))
