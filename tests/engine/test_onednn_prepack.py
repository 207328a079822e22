"""Prepared weights multiply like the plain ones, and leave no trace."""

import pytest
import torch
from torch import nn

import tiny
from scalpel.engine.onednn_prepack import (
    LARGE,
    WORTH,
    prepacked,
    prepared,
)


def layers(bias: bool) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(256, 320, bias=bias), nn.Linear(320, 8, bias=bias))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 40, 700])
@torch.no_grad()
def test_float32_products_agree_to_rounding(rows, bias):
    m, x = layers(bias), torch.randn(1, rows, 256)
    plain = m(x)
    assert m[0].weight.numel() >= LARGE
    with prepacked(m, "float32", WORTH):
        assert "forward" in vars(m[0])
        torch.testing.assert_close(m(x), plain, atol=1e-5, rtol=1e-5)
    assert torch.equal(m(x), plain)


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_bfloat16_products_are_those_of_autocast(bias):
    m, x = layers(bias), torch.randn(1, 37, 256)
    with torch.autocast("cpu", torch.bfloat16):
        plain = m(x)
        with prepacked(m, "bfloat16", WORTH):
            ours = m(x)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours, plain, atol=1e-3, rtol=8e-3)  # one step of bfloat16
    assert (ours == plain).float().mean() > 0.9


def test_the_layers_are_as_before_even_after_an_error():
    m = layers(True)
    with pytest.raises(RuntimeError, match="stop"), prepacked(m, "bfloat16", WORTH):
        raise RuntimeError("stop")
    assert not any("forward" in vars(x) for x in m.modules())


def test_few_rows_are_not_worth_it():
    m = layers(True)
    with prepacked(m, "bfloat16", WORTH - 1):
        assert not any("forward" in vars(x) for x in m.modules())


def test_layers_of_other_kinds_are_left_alone():
    class Other(nn.Linear):
        pass

    other, patched = Other(256, 320), nn.Linear(256, 320)
    patched.forward = lambda x: x  # type: ignore[method-assign]
    assert prepared(other, "bfloat16") is None and prepared(patched, "bfloat16") is None
    assert prepared(nn.Linear(8, 8), "float32") is None


@torch.no_grad()
def test_a_tied_head_is_prepared_and_the_embedding_is_not():
    m = tiny.model(vocab_size=5000, hidden_size=64, head_dim=32)
    ids = torch.tensor([[1, 2, 3]])
    plain = m(ids).logits
    with prepacked(m, "bfloat16", WORTH):
        assert "forward" in vars(m.lm_head) and m.base_model.embed_tokens(ids).dtype == torch.float32
    assert m.lm_head.weight is m.base_model.embed_tokens.weight
    assert torch.equal(m(ids).logits, plain)
