"""What an objective says of tokens without credit, and a credit of what it reads, holds: the loop counts on both."""

from dataclasses import replace

import pytest
import torch

import material
from scalpel.part import Bound

OBJECTIVES = [b for b in material.parts("objective") if b.part.by_credit]
CREDITS = [b for b in material.parts("credit") if not b.waits(0.0)]


def credited(bound: Bound, batch, x, credit_N):
    loss, _ = bound(material.out(x), replace(batch, credit_N=credit_N))
    grad = torch.autograd.grad(loss, list(x.values()), allow_unused=True)
    return loss.detach(), dict(zip(x, grad, strict=True))


@pytest.mark.parametrize("bound", OBJECTIVES, ids=material.label)
def test_a_unit_without_credit_gives_neither_loss_nor_gradient_and_leaving_it_out_changes_nothing(bound: Bound):
    batch = material.batch()
    batch = replace(batch, old_N=torch.zeros(batch.N, dtype=torch.float64))
    x = material.numbers(batch, bound)
    idle_N = batch.train_N & (torch.arange(batch.N) % 2 == 0 if bound.part.by_credit == "token" else batch.seq_N < 4)
    credit_N = torch.where(idle_N, 0.0, 1.5 * batch.train_N)
    loss, grad = credited(bound, batch, x, credit_N)
    assert all(g is None or bool((g[idle_N] == 0).all()) for g in grad.values())
    narrow = replace(batch, train_N=batch.train_N & ~idle_N, whole_S=batch.length_S)
    loss2, grad2 = credited(bound, narrow, x, credit_N)
    torch.testing.assert_close(loss2, loss)
    for need, g in grad.items():
        assert (g is None) == (grad2[need] is None) and (g is None or torch.allclose(g, grad2[need]))
    assert float(loss) != 0


@pytest.mark.parametrize("bound", CREDITS, ids=material.label)
def test_a_credit_that_names_nothing_of_the_forward_pass_reads_nothing_of_it(bound: Bound):
    batch = material.only_declared(material.batch(), bound)
    x = material.numbers(batch, bound)
    other = {need: torch.zeros_like(v) for need, v in x.items()}
    early, late = (bound(material.out(numbers), batch) for numbers in (other, x))
    assert torch.equal(early, late)


def test_both_kinds_are_there():
    assert {b.part.name for b in OBJECTIVES} >= {"nll", "clipped-pg"}
    assert {b.part.name for b in CREDITS} >= {"constant", "group-zscore", "reward"}
