"""Clipped policy gradient with a token-level ratio."""

from collections.abc import Iterator
from math import log

import torch
from torch import Tensor

from scalpel.batch import DEMONSTRATION, POLICY, Batch
from scalpel.objectives.loss_average import LENGTH, Average, Per, average_count
from scalpel.part import Metrics, Out, mean_of, part
from scalpel.worked_cases import case

# A bound on |log π − log π_old|. Beyond it a token counts with the bound and gets no gradient: exp(89) overflows
# float32, and a single infinite ratio would make the loss of the whole step infinite or, times an advantage of 0, NaN.
MAX_LOG_RATIO = 20.0


def limits() -> Iterator[tuple]:
    at = [[-1.0, -1.0], [-1.0]]
    here = case(at, old=at, credit=[[1.0, 1.0], [-2.0]])
    yield *here, {}, 0.5  # −(mean(1, 1) + (−2)) / 2
    yield *here, {"average": "token"}, 0.0  # −(1 + 1 − 2) / 3
    yield *here, {"average": "constant", "length": 2}, 0.0
    both = case(at, old=at, credit=[[1.0, 1.0], [0.0]], author=[[POLICY] * 2, [DEMONSTRATION]])
    yield *both, {"per": "policy"}, -1.0  # over the one sequence of the policy; −0.5 over both
    yield *both, {"per": "policy", "average": "constant", "length": 4}, -0.5  # −2 / (1·4)
    doubled = [[log(2.0)]]
    yield *case(doubled, old=[[0.0]]), {}, -1.2  # clipped at 1 + ε
    yield *case(doubled, old=[[0.0]]), {"epsilon_high": 0.28}, -1.28
    yield *case(doubled, old=[[0.0]], credit=[[-1.0]]), {}, 2.0  # the worse of both, unclipped
    yield *case(doubled, old=[[0.0]]), {"epsilon": 9.0}, -2.0
    far = case([[log(8.0)], [log(8.0)]], old=[[0.0], [0.0]], credit=[[-1.0], [1.0]])
    yield *far, {"dual": 3.0}, 0.9  # (3 − 1.2) / 2: c bounds the ratio where Â < 0 only; Â > 0 is clipped at 1 + ε


@part(
    "objective",
    "clipped-pg",
    needs={"logp"},
    reads={"old"},
    count=average_count,
    couples="sequence",
    by_credit="token",
    steady=True,
    stage=LENGTH,
    limits=limits,
)
def clipped_pg(
    out: Out,
    batch: Batch,
    *,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    dual: float | None = None,
    average: Average = "sequence",
    length: int | None = None,
    per: Per = "all",
) -> tuple[Tensor, Metrics]:
    """Raises the log-prob of each token in proportion to its advantage, with the importance ratio clipped (PPO).

        L = −Σ_i w_i Σ_t min(ρ_t Â_t, clip(ρ_t, 1−ε, 1+ε_high) Â_t),   ρ_t = exp(log π(y_t) − log π_old(y_t))

    `average` "sequence": w_i = 1/|y_i| over the number of sequences (GRPO); "token": w_i = 1 over all tokens
    (DAPO); "constant": w_i = 1 over sequences · `length` (Dr. GRPO), by default the limit of sampled tokens.
    `per` divides by the sequences and tokens of one author, where samples and demonstrations share a batch; give the
    credit `written-by` for the same author beside it.
    `dual` c > 1 + ε clips the other side: where Â_t < 0, a ratio above c counts as c and gets no gradient.

    Reads    logp, old, credit (the advantage Â).
    Limits   old = current: the gradient is that of −Σ w Â log π; ε → ∞ is the unclipped surrogate.
    Fails    ratios leave the trust region: `clip_share` rises. All advantages 0: `surrogate` stays 0.
    Source   Schulman et al. 2017 (arXiv 1707.06347), eq. 7; averages as in arXiv 2402.03300, eq. 3, and
             arXiv 2503.20783, section 3.1; dual clip Ye et al. 2019 (arXiv 1912.09729), eq. 11.
    """
    assert batch.credit_N is not None and batch.old_N is not None
    if dual is not None and dual <= 1:
        raise ValueError(
            f"dual is {dual}: the importance ratio is 1 before the first update, so no token with a negative advantage "
            "would get a gradient; set dual above 1 + ε"
        )
    high = epsilon if epsilon_high is None else epsilon_high
    ratio_N = (out.logp_N - batch.old_N).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    clipped_N = ratio_N.clamp(1 - epsilon, 1 + high)
    # The minimum is the pessimistic bound: clipping removes the gradient only where the ratio has already moved in the
    # direction that the advantage asks for. A ratio that moved the wrong way keeps its gradient.
    gain_N = torch.minimum(ratio_N * batch.credit_N, clipped_N * batch.credit_N)
    if dual is not None:
        gain_N = torch.where(batch.credit_N < 0, torch.maximum(gain_N, dual * batch.credit_N), gain_N)
    weight_N = batch.broadcast(1 / batch.length_S.clamp(min=1)) if average == "sequence" else 1.0
    loss = -torch.where(batch.train_N, weight_N * gain_N, 0.0).sum()
    clipped = (ratio_N * batch.credit_N > clipped_N * batch.credit_N).float()
    return loss, {
        "surrogate": mean_of(gain_N, batch.train_N),
        "clip_share": mean_of(clipped, batch.train_N),
        "ratio": mean_of(ratio_N, batch.train_N),
    }
