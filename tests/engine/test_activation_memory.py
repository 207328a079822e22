"""What autograd keeps is counted; layers that run twice keep less and give the same gradients."""

from math import inf

import pytest
import torch

import tiny
from scalpel.batch import DEMONSTRATION, Row, pack
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine
from scalpel.engine.activation_memory import (
    SavedActivations,
    kept_a_token,
    kept_twice,
    running_twice,
)

IDS = torch.randint(7, 263, (40,), generator=torch.Generator().manual_seed(0)).tolist()


def rows() -> list[Row]:
    return [Row(IDS[:n], [True] * n, [DEMONSTRATION] * n, group=n) for n in (5, 40, 23)]


def engine(kind: str = "llama", **more) -> Engine:
    return Engine(tiny.model(kind), Tokens(tiny.tokenizer()), **more)


def gradients(e, room: float) -> tuple[torch.Tensor, list[torch.Tensor], float]:
    e.limit_activations(room)
    e.model.zero_grad(set_to_none=True)
    saved = SavedActivations(e.model)
    with saved.counting():
        out = e.forward(pack(rows()))
    out.logp_N.sum().backward()
    return out.logp_N.detach(), [p.grad.clone() for p in e.model.parameters()], saved.bytes


@pytest.mark.parametrize("kind", sorted(tiny.SHAPES))
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_layers_that_run_twice_keep_less_and_give_the_same(kind, precision):
    e = engine(kind, precision=precision)
    e.model.train()
    for module in e.model.modules():  # else chance would decide
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    once, twice = gradients(e, inf), gradients(e, 0.0)
    assert torch.equal(once[0], twice[0]) and twice[2] < 0.7 * once[2]
    for mine, theirs in zip(twice[1], once[1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_room_decides_and_is_said_once(caplog):
    e, batch = engine(), pack(rows())
    e.model.train()
    ran: list[int] = []
    e.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: ran.append(1))
    need = kept_a_token(e.model) * e.size(batch)
    ran.clear()
    for room, runs in [(1.01 * need, 1), (0.99 * need, 2), (0.0, 2), (inf, 1)]:
        e.limit_activations(room)
        ran.clear()
        with caplog.at_level("INFO", "scalpel"):
            e.forward(batch).logp_N.sum().backward()
        assert len(ran) == runs
    assert caplog.text.count("gradient checkpointing") == 1


def test_without_a_gradient_nothing_runs_twice():
    e = engine()
    e.model.train()
    e.limit_activations(0.0)
    e.size(pack(rows()))  # tries whether the model packs
    ran: list[int] = []
    e.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: ran.append(1))
    with torch.no_grad():
        e.forward(pack(rows()))
    assert len(ran) == 1


def test_the_model_is_afterwards_what_it_was():
    model = tiny.model()
    before = [sorted(vars(m)) for m in model.modules()]
    with running_twice(model):
        assert all(layer.gradient_checkpointing for layer in model.model.layers)
    assert [sorted(vars(m)) for m in model.modules()] == before
    assert not any(layer.gradient_checkpointing for layer in model.model.layers)


def test_what_a_token_keeps_counts_no_weights_and_grows_with_the_layers():
    two, four = (kept_a_token(tiny.model(num_hidden_layers=n)) for n in (2, 4))
    assert 1.5 * two < four < 2.0 * two  # a part lies outside the layers
    assert kept_a_token(tiny.model(vocab_size=5000)) == two


def test_what_a_token_keeps_where_layers_run_twice_by_hand():
    # 2 layers of width 16 keep their input, 4 · 2 · 16 = 128 bytes, and one layer of two what it keeps: 1000 / 2
    assert kept_twice(tiny.model(), 1000.0) == 628.0
