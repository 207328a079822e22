"""Below the lowest weight that moves no gradient is computed, and the meter knows."""

from collections import Counter

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import tiny
from scalpel.batch import Row, pack
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine
from scalpel.engine.backward_cost import BackwardCost, backward_cost
from scalpel.engine.cost_meter import matrix_parameters
from scalpel.models.adapters import adapt
from scalpel.scope import train_only

LAYERS = 4
MOVING = {  # by what a parameter's name holds
    "all": "",
    "the last layer": "layers.3.",
    "layers in the middle": "layers.1.",
    "queries of the first layer": "layers.0.self_attn.q_proj",
    "what leaves attention in the third": "layers.2.self_attn.o_proj",
    "the last norm": "model.norm",
    "norms": "layernorm",
    "embeddings": "embed_tokens",
    "the head": "lm_head",
}


def trainables(what: str, **changes):
    model = tiny.model(num_hidden_layers=LAYERS, tie_word_embeddings=what == "all", **changes)
    train_only(model, lambda name, p: MOVING[what] in name)
    return model


def products(run) -> int:
    """Multiplications and additions of the matrix products alone; those of attention are batched ones."""
    with FlopCounterMode(display=False) as counter:
        run()
    ops = counter.get_flop_counts()["Global"]
    return sum(n for op, n in ops.items() if str(op) in ("aten.mm", "aten.addmm"))


def logits(model):
    return model(torch.arange(1, 9)[None], use_cache=False).logits


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("what", ["all", "lora"])
def test_the_cost_of_a_backward_pass_is_what_is_counted_for_other_architectures(kind, what):
    model = tiny.model(kind)
    if what == "lora":
        adapt(model, "lora", {"r": 2, "target_modules": ["c_attn" if kind == "gpt2" else "q_proj"]}, 0)
    assert_counted(model)


@pytest.mark.parametrize("what", MOVING)
def test_the_cost_of_a_backward_pass_is_what_is_counted(what):
    assert_counted(trainables(what))


def assert_counted(model) -> None:
    found: list = []
    forward = products(lambda: found.append(logits(model)))
    backward = products(lambda: found[0].sum().backward())
    assert forward == 2 * 8 * matrix_parameters(model)
    assert backward == pytest.approx(backward_cost(model).linear * forward)


def test_by_hand():
    head, layers = 263 * 16, 4 * 2304  # parameters, as in test_meter
    assert backward_cost(trainables("all")) == BackwardCost(2.0, 2.0)
    for what in ("the head", "the last norm"):  # the gradient of its weight alone, or of what goes into it alone
        assert backward_cost(trainables(what)) == BackwardCost(pytest.approx(head / (head + layers)), 0.0)


@pytest.mark.parametrize(
    ("what", "layers"),
    [("layers in the middle", 3), ("queries of the first layer", 4), ("what leaves attention in the third", 1)],
)
def test_attention_is_gone_through_backwards_from_the_lowest_layer_on_that_moves_before_it(what, layers):
    assert backward_cost(trainables(what)).attention == 2.0 * layers / LAYERS


def test_no_gradient_is_computed_below_the_lowest_weight_that_moves():
    model = trainables("the last layer")
    e, seen = Engine(model, Tokens(tiny.tokenizer())), Counter()
    for k, layer in enumerate(model.model.layers):
        layer.register_forward_hook(lambda m, args, out, k=k: seen.update({k: (out[0].grad_fn is not None)}))
    batch = pack([Row(range(9, 15), [False] + [True] * 5, [0] * 6), Row([40, 41], [False, True], [0] * 2)])
    e.forward(batch).logp_N.sum().backward()
    assert [bool(seen[k]) for k in range(LAYERS)] == [False, False, False, True]
    moved = {name for name, p in model.named_parameters() if p.grad is not None}
    assert moved == {name for name, p in model.named_parameters() if "layers.3." in name}


def test_a_model_in_which_nothing_moves_has_no_backward_pass():
    model = tiny.model()
    model.requires_grad_(False)
    assert backward_cost(model) == BackwardCost(0.0, 0.0)


def test_trying_leaves_the_model_and_the_random_numbers_alone():
    model = trainables("the last layer").train()
    state = torch.get_rng_state()
    backward_cost(model)
    assert model.training and torch.equal(state, torch.get_rng_state())
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
