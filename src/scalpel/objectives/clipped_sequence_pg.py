"""Clipped policy gradient with one importance ratio for each sequence."""

from collections.abc import Iterator
from math import log
from typing import Literal

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.objectives.clipped_pg import MAX_LOG_RATIO
from scalpel.objectives.loss_average import LENGTH, Average, average_count
from scalpel.part import Metrics, Out, mean_of, part
from scalpel.worked_cases import case

Ratio = Literal["mean", "product"]


def limits() -> Iterator[tuple]:
    at = [[-1.0, -1.0], [-1.0]]
    here = case(
        at,
        old=at,
        credit=[
            [1.0, 1.0],
            [
                -2.0,
            ],
        ],
    )
    yield *here, {}, 0.5  # −(1 + (−2)) / 2
    yield *here, {"average": "constant", "length": 1}, 0.0  # −(2·1 + 1·(−2)) / 2
    moved = case([[log(4.0), 0.0]], old=[[0.0, 0.0]])  # s = √4 = 2, the product 4
    yield *moved, {"epsilon_high": 9.0}, -2.0
    yield *moved, {"epsilon_high": 9.0, "ratio": "product"}, -4.0
    yield *moved, {"epsilon_high": 9.0, "per_token": True}, -2.0  # the same value, other gradients
    yield *moved, {}, -1.0004  # clipped at 1 + ε_high
    yield *case([[log(4.0), 0.0]], old=[[0.0, 0.0]], credit=[[-1.0, -1.0]]), {}, 2.0  # the worse of both


@part(
    "objective",
    "clipped-sequence-pg",
    needs={"logp"},
    reads={"old"},
    count=average_count,
    couples="sequence",
    by_credit="sequence",
    steady=True,
    stage=LENGTH,
    limits=limits,
)
def clipped_sequence_pg(
    out: Out,
    batch: Batch,
    *,
    epsilon: float = 3e-4,
    epsilon_high: float | None = 4e-4,
    ratio: Ratio = "mean",
    per_token: bool = False,
    average: Average = "sequence",
    length: int | None = None,
) -> tuple[Tensor, Metrics]:
    """Raises the log-prob of whole completions in proportion to their advantage, with one clipped ratio a sequence.

        L = −Σ_i w_i Σ_t min(s_i Â_t, clip(s_i, 1−ε, 1+ε_high) Â_t),   s_i = exp(1/|y_i| Σ_t log π(y_t)/π_old(y_t))

    `ratio` "product": without the 1/|y_i|, so that the completion is one action. `per_token`: s_i keeps its value, but
    the gradient of each token is its own, so that tokens with different advantages are distinguished. `average` as in
    `clipped-pg`; "constant" with `length` 1 sums over tokens, so that a completion weighs in proportion to its length.

    Reads    logp, old, credit (the advantage Â).
    Limits   old = current: the gradient of `clipped-pg` unless advantages differ by token; one token a completion:
             `clipped-pg`.
    Fails    an ε that suits token ratios (0.2) never clips a length-normalised one: `clip_share` stays 0.
    Source   Zheng et al. 2025 (arXiv 2507.18071), eq. 5 and 7, per token eq. 13-14; summed over tokens arXiv
             2602.05261; one action arXiv 2402.14740.
    """
    assert batch.credit_N is not None and batch.old_N is not None
    log_ratio_N = out.logp_N - batch.old_N
    log_S = batch.mean_S(log_ratio_N) if ratio == "mean" else batch.sum_S(log_ratio_N)
    log_N = batch.broadcast(log_S.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))
    if per_token:
        # The value stays that of the sequence ratio; the gradient goes through this token's log-prob alone
        # (GSPO-token).
        log_N = log_N.detach() + out.logp_N - out.logp_N.detach()
    ratio_N = log_N.exp()
    clipped_N = ratio_N.clamp(1 - epsilon, 1 + (epsilon if epsilon_high is None else epsilon_high))
    gain_N = torch.minimum(ratio_N * batch.credit_N, clipped_N * batch.credit_N)
    weight_N = batch.broadcast(1 / batch.length_S.clamp(min=1)) if average == "sequence" else 1.0
    clipped = (ratio_N * batch.credit_N > clipped_N * batch.credit_N).float()
    return -torch.where(batch.train_N, weight_N * gain_N, 0.0).sum(), {
        "surrogate": mean_of(gain_N, batch.train_N),
        "clip_share": mean_of(clipped, batch.train_N),
        "ratio": mean_of(ratio_N, batch.train_N),
    }
