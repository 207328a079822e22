"""Laws of credits, objectives and anchors that worked numbers alone don't show."""

import pytest
import torch
from torch import Tensor

import material
from scalpel.anchors.kl import divergence
from scalpel.batch import DEMONSTRATION, ENVIRONMENT
from scalpel.credits.returns import advantages_and_returns
from scalpel.credits.top_entropy import threshold
from scalpel.engine.head_terms import forward_kl, reverse_kl
from scalpel.objectives.kto import distance
from scalpel.part import HeadTerm, Out, bind, zero_head
from scalpel.worked_cases import case


def by_definition(reward: list[float], value: list[float], gamma: float, lam: float) -> list[float]:
    """Σ_k (γλ)^k δ_{t+k}, written out."""
    delta = [r + gamma * v2 - v for r, v, v2 in zip(reward, value, [*value, 0.0][1:], strict=True)]
    return [sum((gamma * lam) ** k * d for k, d in enumerate(delta[t:])) for t in range(len(delta))]


def test_advantages_are_the_discounted_sum_of_errors_along_each_sequence_s_trained_tokens() -> None:
    generator = torch.Generator().manual_seed(0)
    length, keep = [7, 1, 4, 5], 0.7
    seq_N = torch.repeat_interleave(torch.arange(4), torch.tensor(length))
    train_N = torch.rand(17, generator=generator) < keep
    train_N[seq_N == 1] = False  # a sequence in which nothing is trained
    reward_N, value_N = torch.randn(2, 17, generator=generator, dtype=torch.float64)
    advantage_N, return_N = advantages_and_returns(reward_N, value_N, train_N, seq_N, 0.9, 0.8)
    for s in range(4):
        at = (seq_N == s) & train_N
        expected = by_definition(reward_N[at].tolist(), value_N[at].tolist(), 0.9, 0.8)
        assert advantage_N[at].tolist() == pytest.approx(expected)
        assert return_N[at].tolist() == pytest.approx(
            [a + v for a, v in zip(expected, value_N[at].tolist(), strict=True)]
        )
    assert not advantage_N[~train_N].any() and not return_N[~train_N].any()


def test_advantages_of_nothing_are_nothing() -> None:
    zero, none = torch.zeros(3), torch.zeros(3, dtype=torch.bool)
    found = advantages_and_returns(zero, zero, none, torch.zeros(3, dtype=torch.long), 1.0, 1.0)
    assert not found[0].any() and not found[1].any()


def test_whitened_advantages_have_mean_0_and_deviation_1_over_the_whole_step() -> None:
    batch = material.batch()
    bound = bind("credit", "gae")
    x = material.numbers(batch, bound)
    stat = material.statistic(bound, x, batch)
    halves = [material.picked(x, batch, s) for s in (torch.arange(4), torch.arange(4, 9))]
    credit_n = torch.cat([material.call(bound, y, b, stat)[b.train_N] for y, b in halves])
    assert float(credit_n.mean()) == pytest.approx(0.0, abs=1e-9) and float(credit_n.std()) == pytest.approx(1.0)


def test_a_value_head_expects_nothing_at_first() -> None:
    assert not zero_head(8)(torch.randn(3, 8)).any()


def test_the_entropy_threshold_keeps_the_share_it_says_and_at_least_one() -> None:
    entropy_N = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    among_N = torch.ones(1000, dtype=torch.bool)
    assert int((entropy_N >= threshold(entropy_N, among_N, 0.2)).sum()) == 200
    assert int((entropy_N >= threshold(entropy_N, among_N, 1e-9)).sum()) == 1
    assert float(threshold(entropy_N, ~among_N, 0.2)) == float("inf")


def test_without_demonstrated_tokens_the_prefix_credit_is_constant() -> None:
    out, batch = case([[-1.0, -2.0]], entropy=[[0.0, 1.0]], author=[[ENVIRONMENT, ENVIRONMENT]])
    assert DEMONSTRATION not in batch.author_N[batch.train_N]
    bound = bind("credit", "top-entropy-prefix")
    assert bound.part.statistic is not None
    stat = bound.part.statistic(out, batch, share=0.2)
    assert bound(out, batch, stat=stat)[batch.train_N].tolist() == [1.0, 1.0]


def test_dft_s_gradient_is_that_of_the_probability_itself() -> None:
    logits = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.tensor([0, 3, 6, 2, 2])
    logp_C = logits.log_softmax(-1).gather(1, target[:, None])[:, 0]
    out, batch = case([logp_C.tolist()])
    credit_N = bind("credit", "own-probability")(out, batch).detach()
    loss = -(credit_N[batch.train_N] * logp_C).sum()
    (found,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (expected,) = torch.autograd.grad(-logp_C.exp().sum(), logits)
    torch.testing.assert_close(found, expected)


def test_kto_s_distance_ignores_credits_and_is_0_without_mismatched_answers() -> None:
    home = [[-1.0], [-1.0]]
    out, batch = case([[0.0], [1.0]], reference=home, label=[1, 0], credit=[[5.0], [5.0]])
    assert float(distance(out, batch)) == 2.0
    out, batch = case([[0.0], [1.0]], reference=home, label=[1, -1])
    assert float(distance(out, batch)) == 0.0


# The estimators of KL, averaged exactly over a small vocabulary in place of sampling: p the policy, q the reference.


def expectations(estimator: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """E_p[D] and E_p[∇D], KL(p‖q), and ∇KL(p‖q) with respect to the policy's logits."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(6, generator=generator, dtype=torch.float64).requires_grad_()
    logq_V = torch.randn(6, generator=generator, dtype=torch.float64).log_softmax(-1)
    logp_V = logits.log_softmax(-1)
    _, batch = case([[0.0] * 6], reference=[logq_V.tolist()])
    logp_N = torch.cat([torch.zeros(1, dtype=torch.float64), logp_V])
    d_V = divergence(Out(logp_N), batch, estimator)[1:]  # type: ignore[arg-type]
    p_V = logp_V.detach().exp()
    kl = (logp_V.exp() * (logp_V - logq_V)).sum()
    (average,) = torch.autograd.grad((p_V * d_V).sum(), logits, retain_graph=True)
    (exact,) = torch.autograd.grad(kl, logits, retain_graph=True)
    (forward,) = torch.autograd.grad((logq_V.exp() * (logq_V - logp_V)).sum(), logits)
    value = (p_V * d_V).sum().detach()
    return value - kl.detach(), average, exact, forward


def test_k1_and_k3_are_unbiased_for_the_divergence_and_k2_is_not() -> None:
    assert abs(float(expectations("k1")[0])) < 1e-12 and abs(float(expectations("k3")[0])) < 1e-12
    assert abs(float(expectations("k2")[0])) > 1e-3


def test_as_losses_k2_has_the_right_gradient_k1_none_and_k3_that_of_the_other_direction() -> None:
    zero = torch.zeros(6, dtype=torch.float64)
    _, average, exact, _ = expectations("k2")
    torch.testing.assert_close(average, exact)
    torch.testing.assert_close(expectations("k1")[1], zero)
    _, average, exact, forward = expectations("k3")
    torch.testing.assert_close(average, forward)
    assert not torch.allclose(average, exact, atol=1e-3)


def test_the_exact_forms_are_the_two_directions() -> None:
    generator = torch.Generator().manual_seed(2)
    p, q = torch.randn(2, 3, 9, generator=generator, dtype=torch.float64)
    target = torch.zeros(3, dtype=torch.long)
    P, Q = torch.distributions.Categorical(logits=p), torch.distributions.Categorical(logits=q)
    torch.testing.assert_close(reverse_kl(p, q, target), torch.distributions.kl_divergence(P, Q))
    torch.testing.assert_close(forward_kl(p, q, target), torch.distributions.kl_divergence(Q, P))


def test_the_anchor_asks_for_a_reference_in_the_form_that_it_uses() -> None:
    exact, sampled = bind("anchor", "kl"), bind("anchor", "kl", estimator="k3")
    assert exact.declared("needs") == {HeadTerm("reverse_kl", "reference")} and not exact.declared("reads")
    assert sampled.declared("needs") == {"logp"} and sampled.declared("reads") == {"reference"}


def test_gae_reads_the_reference_only_for_its_penalty() -> None:
    assert bind("credit", "gae").declared("reads") == {"reward", "old_value"}
    assert bind("credit", "gae", kl_beta=0.1).declared("reads") == {"reward", "old_value", "old", "reference"}
