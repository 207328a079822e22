"""Negative log-likelihood whose token weights come from the losses of later tokens."""

from collections.abc import Iterator

from torch import Tensor

from scalpel.batch import Batch
from scalpel.credits.future_loss import future_weight
from scalpel.part import Metrics, Out, mean_of, part
from scalpel.worked_cases import case


def limits() -> Iterator[tuple]:
    made = case([[-1.0, -2.0], [-3.0]])
    yield *made, {"gamma": 0.5}, 2.25  # (mean(1, 2) + 3) / 2: weights of 1
    yield *made, {"gamma": 1.0}, 2.2  # (½ (1.2·1 + 0.8·2) + 3) / 2
    yield *case([[-1.0, -2.0]], credit=[[1.0, 0.0]]), {"gamma": 1.0}, 0.6  # ½ · 1.2


@part("objective", "propagated-nll", needs={"logp"}, count="sequences", couples="sequence", limits=limits)
def propagated_nll(out: Out, batch: Batch, *, gamma: float = 0.95) -> tuple[Tensor, Metrics]:
    """Maximises the likelihood of the given tokens, each weighted by the discounted losses of the tokens after it.

        L = mean over sequences of (1/N) Σ_t c_t w_t ℓ_t,   w_t ∝ Σ_{k ≥ t} γ^(k−t) ℓ_k, of mean 1;   ℓ = −log π

    Gradients flow through the weights too, as in the authors' code, so the loss is quadratic in ℓ. With detached
    weights it is credit `future-loss`.

    Reads    logp, credit.
    Limits   one token a sequence: the mean of ℓ; losses all equal, γ = 0: `nll` over sequences.
    Fails    one very unlikely token moves nearly all weight to the tokens before it: `weight_spread` grows.
    Source   Hua et al. 2024 (arXiv 2405.11870), section 4.2, eq. 21; decay and scaling as in the authors' code.
    """
    assert batch.credit_N is not None
    if gamma < 0:
        raise ValueError(f"gamma is {gamma}, but it discounts the losses of later tokens: set 0 or more")
    loss_N = -out.logp_N
    weight_N = future_weight(loss_N, batch, gamma)
    loss = batch.mean_S(batch.credit_N * weight_N * loss_N).sum()
    spread_N = (weight_N - 1).abs()
    return loss, {"nll": mean_of(loss_N, batch.train_N), "weight_spread": mean_of(spread_N, batch.train_N)}
