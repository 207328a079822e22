"""Kahneman-Tversky optimisation."""

from collections.abc import Iterator
from math import e
from typing import Any

import torch
from torch import Tensor

from scalpel.batch import NEITHER, Batch
from scalpel.part import Metrics, Out, mean_of, part
from scalpel.worked_cases import case


def log_ratio(out: Out, batch: Batch) -> Tensor:
    """r_S = Σ_t c_t (log π(y_t) − log π_ref(y_t)), c from the credits."""
    assert batch.reference_N is not None
    credit_N = torch.ones_like(out.logp_N) if batch.credit_N is None else batch.credit_N
    return batch.sum_S(credit_N * (out.logp_N - batch.reference_N))


def distance(out: Out, batch: Batch, **hyper: Any) -> Tensor:
    """z₀ = max(0, mean of r over the step's mismatched answers). Credits don't apply: it estimates a KL divergence."""
    # A biased estimate: mismatched answers are not samples of the policy. A negative mean is set to 0, since a
    # divergence is not negative. The mean is over the whole step: over the few answers of a micro-batch it would make
    # the gradient depend on the split.
    assert batch.reference_N is not None
    r_S = batch.sum_S(out.logp_N - batch.reference_N)
    mismatched_S = batch.label_S == NEITHER
    return r_S[mismatched_S].mean().clamp(min=0.0) if bool(mismatched_S.any()) else r_S.new_zeros(())


def judged_count(batch: Batch, **hyper: Any) -> float:
    return float((batch.label_S != NEITHER).sum())


def limits() -> Iterator[tuple]:
    labels: dict[str, Any] = dict(label=[1, -1, 0])
    home = [[-1.0], [-2.0, -1.0], [-3.0]]
    yield *case(home, reference=home, **labels), {}, 0.5  # policy = reference: σ(0) for both labels
    moved = case([[1.0], [-2.0, -3.0], [-4.0]], reference=home, **labels)  # r = 2, −2, −1 → z₀ = 0
    s = 1 / (1 + e**-2)
    yield *moved, {"beta": 1.0}, 1 - s
    yield *moved, {"beta": 1.0, "desirable": 3.0}, ((3 - 3 * s) + (1 - s)) / 2
    apart = case([[1.0], [-2.0, -3.0], [-1.0]], reference=home, **labels)  # the mismatched one: z₀ = 2
    yield *apart, {"beta": 1.0}, ((1 - 0.5) + (1 - 1 / (1 + e**-4))) / 2  # good: r − z₀ = 0; bad: z₀ − r = 4


@part(
    "objective",
    "kto",
    needs={"logp"},
    reads={"reference", "label"},
    count=judged_count,
    couples="step",
    statistic=distance,
    limits=limits,
)
def kto(
    out: Out, batch: Batch, *, stat: Tensor, beta: float = 0.1, desirable: float = 1.0, undesirable: float = 1.0
) -> tuple[Tensor, Metrics]:
    """Raises good answers and lowers bad ones, without pairs, through the value function of prospect theory.

        L = Σ_good λ_D (1 − σ(β (r − z₀))) + Σ_bad λ_U (1 − σ(β (z₀ − r))),   r = Σ_t c_t (log π(y_t) − log π_ref(y_t))

    z₀ estimates the KL divergence from the reference: the mean r of mismatched answers over the whole step, at least 0,
    without a gradient. `desirable` is λ_D, `undesirable` λ_U: keep λ_D·n_good / (λ_U·n_bad) in 1 to 4/3.

    Reads    logp, reference, label_S; a credit c weighs tokens.
    Limits   policy = reference, or β = 0: half of the mean λ.
    Fails    z₀ (`distance`) grows: the policy has left the reference on all answers, right or wrong.
    Source   Ethayarajh et al. 2024 (arXiv 2402.01306), section 4.1, eq. 8; mismatched answers as in TRL.
    """
    r_S = log_ratio(out, batch)
    z_0 = stat.to(r_S)
    lambda_S = torch.where(batch.label_S > 0, desirable, undesirable).to(r_S)
    utility_S = torch.sigmoid(beta * batch.label_S * (r_S - z_0))
    # Mismatched answers (label 0) serve z₀ alone: they enter neither the loss nor its divisor.
    judged_S = batch.label_S != NEITHER
    loss = torch.where(judged_S, lambda_S * (1 - utility_S), 0.0).sum()
    return loss, {
        "distance": (z_0.detach(), 1.0),
        "chosen": mean_of(beta * r_S, batch.label_S > 0),
        "rejected": mean_of(beta * r_S, batch.label_S < 0),
    }
