"""KL penalty whose coefficient follows a target."""

from collections.abc import Iterator, Mapping
from math import e
from typing import Any

import torch
from torch import Tensor

from scalpel.anchors.kl import EXACT, Estimator, divergence, exact, needs, reads
from scalpel.batch import Batch
from scalpel.part import Metrics, Out, mean_of, part
from scalpel.worked_cases import case

MAX_ERROR = 0.2  # the relative error is clipped to ± this, so that one outlying step can't change β much


def initial_beta(*, beta: float, target: float, **other: Any) -> float:
    if target <= 0:
        raise ValueError(
            f"anchor 'adaptive-kl' has target {target}: set the KL divergence in nats per token that is allowed, above "
            "0; to hold the policy at the reference take anchor 'kl' with a high beta"
        )
    return beta


def updated_beta(
    state: float, seen: Mapping[str, float], batch: Batch, *, target: float, rate: float, **other: Any
) -> float:
    """β ← β · (1 + rate · clip(kl / target − 1, ±0.2))."""
    error = seen["kl"] / target - 1 if "kl" in seen else 0.0
    return state * (1 + rate * min(max(error, -MAX_ERROR), MAX_ERROR))


def limits() -> Iterator[tuple]:
    home = [[-1.0, -2.0]]
    away = case([[0.0, -2.0]], reference=home)  # d = 1, 0
    yield *case(home, reference=home), {"estimator": "k3"}, 0.0
    yield *away, {"estimator": "k3", "beta": 1.0}, 1 / e / 2  # before any step: β times `kl`
    for estimator in EXACT:
        yield *case(home, terms={exact(estimator): [[0.2, 0.4]]}), {"estimator": estimator, "beta": 0.5}, 0.15


@part("anchor", "adaptive-kl", needs=needs, reads=reads, state=initial_beta, follow=updated_beta, limits=limits)
def adaptive_kl(
    out: Out,
    batch: Batch,
    *,
    state: float,
    beta: float = 0.1,
    target: float = 0.05,
    rate: float = 0.1,
    estimator: Estimator = "exact-reverse",
) -> tuple[Tensor, Metrics]:
    """Keeps the KL divergence from the reference near `target` nats per token, by adapting the coefficient β.

        L = β_k Σ_t D_t,   β_{k+1} = β_k · (1 + rate · clip(D̄_k / target − 1, −0.2, 0.2)),   β_0 = beta

    D is that of anchor `kl`, D̄_k its mean over the trained tokens of step k.

    Reads    as `kl`; its own mean in the step before.
    Limits   rate 0 is `kl`; 0 where policy and reference agree.
    Fails    β changes by at most rate · 0.2 a step, slower than the policy drifts: `kl` stays above the target while
             `kl_beta` grows.
    Source   Ziegler et al. 2019 (arXiv 1909.08593), section 2.2; there the target is nats a sequence.
    """
    divergence_N = divergence(out, batch, estimator)
    beta_now = (torch.tensor(state, dtype=torch.float64), 1.0)
    return state * divergence_N.sum(), {"kl": mean_of(divergence_N, batch.train_N), "kl_beta": beta_now}
