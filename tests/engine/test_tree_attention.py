"""Attention over a layout, against softmax over what each place may see, written out."""

from functools import partial

import pytest
import torch

from scalpel.engine import tree_attention
from scalpel.engine.prefix_tree import lay_out
from scalpel.engine.tree_attention import TreeAttention, parts

ROWS = [[5] * 9 + [1, 2, 3], [5] * 9 + [4] * 7, [5] * 9 + [4] * 5 + [6, 6], [7] * 6, [8] * 6]


def layout(bundle: int = 0):
    ids_N = torch.tensor([x for row in ROWS for x in row])
    seq_N = torch.repeat_interleave(torch.arange(len(ROWS)), torch.tensor([len(row) for row in ROWS]))
    at_n = (seq_N.diff(prepend=seq_N[:1] - 1) == 0).nonzero()[:, 0]
    return lay_out(ids_N, seq_N, at_n, worth=3, bundle=bundle)


def seen(laid) -> torch.Tensor:
    """[M, M]: whether a place sees another one."""
    sees = torch.zeros(laid.M, laid.M, dtype=torch.bool)
    for own in laid.own:
        for place in range(own.start, own.stop, own.length):
            sees[place : place + own.length, place : place + own.length] = (
                torch.ones(own.length, own.length).tril().bool()
            )
    for above in laid.above:
        sees[above.start : above.stop, above.key_start : above.key_stop] = True
    if (w := laid.bundles) is not None:
        for place_W, real_W, mask_1WW in zip(w.place_BW, w.real_BW, w.mask_B1WW, strict=True):
            n = int(real_W.sum())
            sees[place_W[0] : place_W[0] + n, place_W[0] : place_W[0] + n] = mask_1WW[0, :n, :n] == 0
    return sees


def written_out(qkv, sees, scale):
    q, k, v = qkv
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    scores = torch.einsum("mhd,uhd->hmu", q, k) * scale
    return torch.einsum("hmu,uhd->mhd", scores.masked_fill(~sees, -torch.inf).softmax(-1), v)


def drawn(H, J, D, E, M):
    torch.manual_seed(0)
    return [torch.randn(M, heads, width, requires_grad=True) for heads, width in ((H, D), (J, D), (J, E))]


@pytest.mark.parametrize(("H", "J", "D", "E"), [(4, 4, 8, 8), (6, 2, 16, 16), (3, 1, 8, 8), (4, 2, 8, 12)])
@pytest.mark.parametrize("kernel", ["of the device", "in blocks", "in small blocks"])
@pytest.mark.parametrize("bundle", [0, 8, 64])
def test_each_place_attends_to_what_it_sees(H, J, D, E, kernel, bundle, monkeypatch):
    if kernel != "of the device":
        rows = 4 if "small" in kernel else 512
        monkeypatch.setattr(tree_attention, "flash", partial(tree_attention.blockwise, rows=rows))
        monkeypatch.setattr(tree_attention, "flash_backward", partial(tree_attention.blockwise_backward, rows=rows))
    laid = layout(bundle)
    assert bundle or (len(laid.above) == 2 and max(own.count for own in laid.own) > 1)
    assert bool(laid.own) == (bundle < 64) and bool(laid.bundles) == (bundle > 0)
    qkv = drawn(H, J, D, E, laid.M)
    weight = torch.randn(laid.M, H, E)
    expected, found = written_out(qkv, seen(laid), 0.3), TreeAttention.apply(*qkv, laid, 0.3)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    a = torch.autograd.grad((expected * weight).sum(), qkv)
    b = torch.autograd.grad((found * weight).sum(), qkv)
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(y, x, atol=1e-5, rtol=1e-5)


def test_bfloat16_comes_and_goes_and_sums_are_taken_in_float32():
    laid = layout()
    qkv = [x.detach().bfloat16().requires_grad_() for x in drawn(6, 2, 16, 16, laid.M)]
    exact = [x.detach().float().requires_grad_() for x in qkv]
    found, truth = TreeAttention.apply(*qkv, laid, 0.3), TreeAttention.apply(*exact, laid, 0.3)
    assert found.dtype == torch.bfloat16 and torch.equal(found, truth.bfloat16())
    for x, y in zip(torch.autograd.grad(found.sum(), qkv), torch.autograd.grad(truth.sum(), exact), strict=True):
        assert x.dtype == torch.bfloat16
        assert float((x.float() - y).abs().max()) <= 0.02 * float(y.abs().max())


def test_every_place_sees_itself_and_all_before_it_in_its_sequence():
    bundleed = layout(64)
    assert torch.equal(seen(bundleed).sum(1), bundleed.position_M + 1)
    laid = layout()
    counts = seen(laid).sum(1)
    assert torch.equal(counts, laid.position_M + 1) and seen(laid).diagonal().all()
    assert sum((q.stop - q.start) // n * (k.stop - k.start) for q, k, n, _ in parts(laid)) >= int(counts.sum())
