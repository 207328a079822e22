"""Generalised advantage estimation."""

from collections.abc import Iterator

from torch import Tensor

from scalpel.batch import Batch
from scalpel.credits.returns import estimate, reads
from scalpel.part import Out, part
from scalpel.worked_cases import case


def advantage_moments(
    out: Out, batch: Batch, *, gamma: float, lam: float, kl_beta: float, whiten: bool
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the advantages of the whole step; 0 and 1, which change nothing, without
    whitening."""
    advantage_n = estimate(batch, gamma, lam, kl_beta)[0][batch.train_N]
    if not whiten or len(advantage_n) < 2:
        return advantage_n.new_zeros(()), advantage_n.new_ones(())
    return advantage_n.mean(), advantage_n.std()


def limits() -> Iterator[tuple]:
    raw = {"whiten": False}
    made = case([[-1.0, -1.0]], reward=[1.0], old_value=[[0.25, 0.5]])
    yield *made, {**raw, "lam": 1.0}, [0.75, 0.5]  # return − value
    yield *made, {**raw, "lam": 0.0}, [0.25, 0.5]  # δ: 0 + ½ − ¼, 1 + 0 − ½
    yield *made, {**raw, "lam": 0.5}, [0.5, 0.5]  # ¼ + ½·½
    yield *made, {"lam": 0.0}, [-(0.5**0.5), 0.5**0.5]  # whitened
    away = case([[-1.0, -1.0]], reward=[1.0], old_value=[[0.0, 0.0]], old=[[-1.0, -1.0]], reference=[[-3.0, -2.0]])
    yield *away, {**raw, "lam": 1.0, "kl_beta": 0.1}, [0.7, 0.9]  # 1 − 0.1·(2 + 1), 1 − 0.1


@part("credit", "gae", needs={"value"}, reads=reads, couples="step", statistic=advantage_moments, limits=limits)
def gae(
    out: Out,
    batch: Batch,
    *,
    stat: tuple[Tensor, Tensor],
    gamma: float = 1.0,
    lam: float = 0.95,
    kl_beta: float = 0.0,
    whiten: bool = True,
) -> Tensor:
    """Estimates the advantage of each token from a value head (GAE): Â_t = Σ_k (γλ)^k δ_{t+k}.

        δ_t = r_t + γ·V(t+1) − V(t);   r_t = [t is last]·r_i − kl_beta·(log π_old − log π_ref)

    V is the value before the first update on the batch. `whiten`: less the mean, over the standard deviation of the
    step. Give objective `value` the same γ, λ and kl_beta.

    Reads    reward_S, reward_N, old_value; old and reference if kl_beta > 0.
    Limits   λ = 1: return minus value; λ = 0: δ_t; V = 0, λ = 1, whiten off: `reward`.
    Fails    an inaccurate value head adds variance: `explained` of objective `value` stays near or below 0.
    Source   Schulman et al. 2015 (arXiv 1506.02438), eq. 16; whitening as in the code of arXiv 1909.08593.
    """
    mean, std = stat
    advantage_N, _ = estimate(batch, gamma, lam, kl_beta)
    return (advantage_N - mean.to(advantage_N)) / (std.to(advantage_N) + 1e-8)
