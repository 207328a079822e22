"""What every objective keeps to, by being registered."""

from dataclasses import replace

import pytest
import torch

import material
from scalpel.part import Bound

pytestmark = pytest.mark.parametrize("bound", material.parts("objective"), ids=material.label)


def gradients(bound: Bound, x: dict, batch, stat=None) -> tuple[torch.Tensor, dict]:
    loss, _ = material.call(bound, x, batch, stat)
    found = torch.autograd.grad(loss, list(x.values()), allow_unused=True)
    return loss, {k: torch.zeros_like(x[k]) if g is None else g for k, g in zip(x, found, strict=True)}


def test_it_reads_only_what_it_declares(bound: Bound) -> None:
    batch = material.only_declared(material.batch(), bound)
    loss, metrics = material.call(bound, material.numbers(batch, bound), batch)
    assert loss.shape == () and torch.isfinite(loss) and loss.requires_grad
    assert metrics and all(float(count) >= 0 for _, count in metrics.values())


def test_untrained_tokens_get_exactly_no_gradient_whatever_stands_there(bound: Bound) -> None:
    batch = material.batch()
    x = material.numbers(batch, bound)
    loss, grad = gradients(bound, x, batch)
    off_N = ~batch.train_N
    assert all(bool((g[off_N] == 0).all()) for g in grad.values())
    for filth in (float("nan"), -float("inf"), 1e30):
        dirty = {
            k: torch.where(off_N.view(-1, *[1] * (v.dim() - 1)), filth, v.detach()).requires_grad_()
            for k, v in x.items()
        }
        loss2, grad2 = gradients(bound, dirty, batch)
        assert torch.equal(loss, loss2) and all(torch.equal(grad[k], grad2[k]) for k in grad)


def test_something_trained_gets_a_gradient(bound: Bound) -> None:
    batch = material.batch()
    _, grad = gradients(bound, material.numbers(batch, bound), batch)
    expected = bound.hyper.get("beta", 1.0) != 0.0
    assert any(bool((g != 0).any()) for g in grad.values()) == expected


def test_other_groups_in_the_pack_change_nothing(bound: Bound) -> None:
    batch = material.batch()
    x = material.numbers(batch, bound)
    stat = material.statistic(bound, x, batch)
    mine_N = batch.broadcast(batch.group_S) == 0
    other = {
        k: torch.where(mine_N.view(-1, *[1] * (v.dim() - 1)), v, v - 1.0).detach().requires_grad_()
        for k, v in x.items()
    }
    _, grad = gradients(bound, x, batch, stat)
    _, grad2 = gradients(bound, other, batch, stat)
    assert all(torch.equal(grad[k][mine_N], grad2[k][mine_N]) for k in grad)


def test_the_order_of_sequences_does_not_matter(bound: Bound) -> None:
    batch = material.batch()
    x = material.numbers(batch, bound)
    shuffled = material.picked(x, batch, torch.randperm(batch.S, generator=torch.Generator().manual_seed(2)))
    loss, _ = material.call(bound, x, batch)
    loss2, _ = material.call(bound, *shuffled)
    torch.testing.assert_close(loss, loss2)


def test_micro_batches_add_up_to_the_batch(bound: Bound) -> None:
    batch = material.batch()
    x = material.numbers(batch, bound)
    stat = material.statistic(bound, x, batch)
    loss, grad = gradients(bound, x, batch, stat)
    whole = bound.part.couples in ("pair", "group")
    units = [[3 * g, 3 * g + 1, 3 * g + 2] for g in range(3)] if whole else [[s] for s in range(batch.S)]
    split = [material.picked(x, batch, torch.tensor(unit)) for unit in units]
    assert sum(bound.count(b, 0.0) for _, b in split) == pytest.approx(bound.count(batch, 0.0))
    total = sum(material.call(bound, y, b, stat)[0] for y, b in split)
    torch.testing.assert_close(total, loss)
    found = torch.autograd.grad(total, list(x.values()), allow_unused=True)
    for g, expected in zip(found, grad.values(), strict=True):
        torch.testing.assert_close(torch.zeros_like(expected) if g is None else g, expected)


@pytest.mark.parametrize("size", [-1e3, -1e-3])
def test_extreme_log_probs_stay_finite(bound: Bound, size: float) -> None:
    batch = material.batch(dtype=torch.float32)
    x = material.numbers(batch, bound, dtype=torch.float32)
    with torch.no_grad():
        x["logp"].fill_(size)
    far = torch.full((batch.N,), -1e3 - size)  # the other one is where this one isn't
    loss, grad = gradients(bound, x, replace(batch, old_N=far, reference_N=far))
    assert torch.isfinite(loss) and all(bool(torch.isfinite(g).all()) for g in grad.values())
