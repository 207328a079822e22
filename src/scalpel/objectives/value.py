"""The loss of the value head."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.credits.returns import estimate, reads
from scalpel.part import Metrics, Out, mean_of, part, zero_head
from scalpel.worked_cases import case


def read(**hyper: Any) -> set[str]:
    return reads(hyper.get("kl_beta", 0.0))


def limits() -> Iterator[tuple]:
    sure = {"lam": 1.0}
    yield *case([[-1.0]], value=[[1.0]], old_value=[[1.0]], reward=[1.0]), sure, 0.0  # right already
    yield *case([[-1.0]], value=[[0.0]], old_value=[[0.0]], reward=[1.0]), sure, 0.5  # ½·1²
    yield *case([[-1.0]], value=[[0.9]], old_value=[[0.0]], reward=[1.0]), sure, 0.32  # clipped at 0.2: ½·0.8²
    yield *case([[-1.0]], value=[[0.9]], old_value=[[0.0]], reward=[1.0]), {**sure, "clip": 9.0}, 0.005  # ½·0.1²
    # V_old = 0 and λ = ½, γ = 1: Â = R = (½, 1); V = 0 → ½ (¼ + 1) / 2
    yield *case([[-1.0] * 2], value=[[0.0] * 2], old_value=[[0.0] * 2], reward=[1.0]), {"lam": 0.5}, 0.3125


@part("objective", "value", needs={"value"}, reads=read, couples="sequence", owns={"value": zero_head}, limits=limits)
def value(
    out: Out, batch: Batch, *, gamma: float = 1.0, lam: float = 0.95, kl_beta: float = 0.0, clip: float = 0.2
) -> tuple[Tensor, Metrics]:
    """Regresses the value head onto the expected return from each token on.

        L = ½ Σ_t max((V_t − R_t)², (clip(V_t, V_old ± c) − R_t)²),   R_t = Â_t + V_old(t)

    Gradients reach the transformer below the head, too; the signal's weight scales them. Give credit `gae` the same
    γ, λ and kl_beta.

    Reads    value; old_value, reward; old and reference if kl_beta > 0.
    Limits   c → ∞ is half the squared error.
    Fails    `explained`, the share of the returns' second moment that V explains, stays near or below 0.
    Source   Schulman et al. 2017 (arXiv 1707.06347), eq. 9; clipping as in the authors' baselines.
    """
    assert out.value_NK is not None and batch.old_value_N is not None
    value_N, old_N = out.value_NK[:, 0], batch.old_value_N
    _, return_N = estimate(batch, gamma, lam, kl_beta)
    clipped_N = torch.clamp(value_N, old_N - clip, old_N + clip)
    # The maximum is pessimistic, as the minimum in the clipped surrogate: a value that has moved by more than c towards
    # its target gets no gradient, one that moved away keeps it.
    error_N = torch.maximum((value_N - return_N) ** 2, (clipped_N - return_N) ** 2)
    loss = 0.5 * torch.where(batch.train_N, error_N, 0.0).sum()
    square_N = return_N**2
    explained_N = (square_N - (value_N - return_N) ** 2).detach()
    return loss, {
        "value": mean_of(value_N, batch.train_N),
        "return": mean_of(return_N, batch.train_N),
        "explained": ((explained_N * batch.train_N).sum(), float((square_N * batch.train_N).sum())),
    }
