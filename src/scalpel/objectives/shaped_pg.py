"""Off-policy policy gradient on tokens that another model or a person wrote."""

from collections.abc import Iterator
from math import log
from typing import Literal

import torch
from torch import Tensor

from scalpel.batch import DEMONSTRATION, POLICY, Batch
from scalpel.objectives.loss_average import LENGTH, Average, Per, average_count
from scalpel.part import Metrics, Out, mean_of, part
from scalpel.worked_cases import case

Shape = Literal["damped", "probability", "log-probability"]


def shaped(logp_N: Tensor, shape: Shape, gamma: float) -> Tensor:
    if shape == "log-probability":
        return logp_N
    p_N = logp_N.exp()
    return p_N if shape == "probability" else p_N / (p_N + gamma)


def limits() -> Iterator[tuple]:
    made = case([[log(0.1), 0.0], [log(0.3)]], credit=[[1.0, 1.0], [2.0]])
    yield *made, {"shape": "probability"}, -0.575  # −((0.1 + 1) / 2 + 2·0.3) / 2
    yield *made, {}, -(0.5 * (0.5 + 1 / 1.1) + 2 * 0.75) / 2  # p / (p + 0.1)
    yield *made, {"gamma": 0.3}, -(0.5 * (0.25 + 1 / 1.3) + 2 * 0.5) / 2
    logs = case([[-1.0, -2.0]], credit=[[1.0, 0.5]])
    yield *logs, {"shape": "log-probability", "average": "token"}, 1.0  # (1 + 1) / 2
    yield *case([[0.0, 0.0]]), {"shape": "probability", "average": "constant", "length": 4}, -0.5  # −2 / 4
    both = case([[log(0.5)] * 2, [-1.0]], credit=[[1.0, 1.0], [0.0]], author=[[DEMONSTRATION] * 2, [POLICY]])
    yield *both, {"shape": "probability", "per": "demonstration"}, -0.5  # over the one demonstration; −0.25 over both


@part(
    "objective",
    "shaped-pg",
    needs={"logp"},
    count=average_count,
    couples="sequence",
    by_credit="token",
    stage=LENGTH,
    limits=limits,
)
def shaped_pg(
    out: Out,
    batch: Batch,
    *,
    shape: Shape = "damped",
    gamma: float = 0.1,
    average: Average = "sequence",
    length: int | None = None,
    per: Per = "all",
) -> tuple[Tensor, Metrics]:
    """Raises off-policy tokens by their advantage through a function of their probability, in place of a ratio.

        L = −Σ_i w_i Σ_t Â_t f(π_t)      damped  π / (π + γ)      probability  π      log-probability  log π

    The behaviour policy is taken to have had probability 1 of each token, so that π is the importance ratio; there is
    no clipping. The gradient is that of log π times π ("probability"), so unlikely tokens are hardly learnt; times
    γπ / (π + γ)² ("damped"), greatest at π = γ; or times 1 ("log-probability"), as for on-policy tokens. Averages and
    `per` as in `clipped-pg`.

    Reads    logp, credit (the advantage Â).
    Limits   damped: γ → 0 is constant, γ → ∞ is probability / γ. Log-probability: `clipped-pg` in its first update.
    Fails    `probability` near 0 under shape "probability": the demonstrations teach nothing.
    Source   Yan et al. 2025 (arXiv 2504.14945), section 3.2, eq. 6, policy shaping by regularised importance sampling.
    """
    assert batch.credit_N is not None
    weight_N = batch.broadcast(1 / batch.length_S.clamp(min=1)) if average == "sequence" else 1.0
    gain_N = batch.credit_N * shaped(out.logp_N, shape, gamma)
    loss = -torch.where(batch.train_N, weight_N * gain_N, 0.0).sum()
    credited_N = batch.train_N & (batch.credit_N != 0)
    return loss, {"surrogate": mean_of(gain_N, batch.train_N), "probability": mean_of(out.logp_N.exp(), credited_N)}
