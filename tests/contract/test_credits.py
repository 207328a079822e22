"""What every credit keeps to, by being registered."""

from dataclasses import replace

import pytest
import torch

import material
from scalpel.part import Bound

EVERY = pytest.mark.parametrize("bound", material.parts("credit"), ids=material.label)


def promising(words: str) -> pytest.MarkDecorator:
    """The credits whose docstring makes that promise."""
    every = [b for b in material.parts("credit") if not b.hyper.get("kl_beta")]  # a divergence in it is a reward, too
    keeping = [bound for bound in every if words in " ".join((bound.part.fn.__doc__ or "").split())]
    assert keeping, f"no credit says {words!r}"
    return pytest.mark.parametrize("bound", keeping, ids=material.label)


@EVERY
def test_it_gives_a_finite_number_a_token_from_what_it_declares(bound: Bound) -> None:
    batch = material.only_declared(material.batch(), bound)
    credit_N = material.call(bound, material.numbers(batch, bound), batch)
    assert credit_N.shape == (batch.N,) and bool(torch.isfinite(credit_N).all())


@EVERY
def test_a_sequence_keeps_its_credit_in_any_order_and_any_micro_batch(bound: Bound) -> None:
    batch = material.batch()
    x = material.numbers(batch, bound)
    stat = material.statistic(bound, x, batch)
    credit_N = material.call(bound, x, batch, stat)
    for index_s in (torch.tensor([8, 6, 7, 1, 0, 2, 5, 4, 3]), torch.tensor([3, 4, 5])):
        y, part = material.picked(x, batch, index_s)
        expected = torch.cat([credit_N[batch.seq_N == s] for s in index_s.tolist()])
        kept_N = part.train_N
        torch.testing.assert_close(material.call(bound, y, part, stat)[kept_N], expected[kept_N])


@EVERY
def test_what_stands_on_untrained_tokens_does_not_reach_trained_ones(bound: Bound) -> None:
    batch = material.batch()
    x = material.numbers(batch, bound)
    shape = {k: (-1, *[1] * (v.dim() - 1)) for k, v in x.items()}
    dirty = {k: torch.where(batch.train_N.view(shape[k]), v, float("nan")).detach() for k, v in x.items()}
    a, b = material.call(bound, x, batch), material.call(bound, dirty, batch)
    assert torch.equal(a[batch.train_N], b[batch.train_N])


@promising("equal rewards → 0")
def test_equal_rewards_give_nothing_to_learn(bound: Bound) -> None:
    batch = replace(material.batch(), reward_SK=torch.full((9, 2), 0.5, dtype=torch.float64))
    credit_N = material.call(bound, material.numbers(batch, bound), batch)
    assert bool((credit_N == 0).all())


@promising("a constant added to all rewards changes nothing")
def test_a_constant_added_to_all_rewards_changes_nothing(bound: Bound) -> None:
    batch = material.batch()
    x = material.numbers(batch, bound)
    assert batch.reward_SK is not None
    raised = replace(batch, reward_SK=batch.reward_SK + 3.0)
    torch.testing.assert_close(material.call(bound, x, raised), material.call(bound, x, batch))


@pytest.mark.parametrize("name", ["group-zscore", "group-mean"])
def test_a_group_of_one_is_refused_with_the_alternative(name: str) -> None:
    bound = material.bind("credit", name)
    batch = material.batch().pick(torch.tensor([0, 3, 4]))
    with pytest.raises(ValueError, match="one sample: set size to 2 or more"):
        material.call(bound, material.numbers(batch, bound), batch)
