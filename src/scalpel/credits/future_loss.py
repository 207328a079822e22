"""Token weights from the losses of later tokens."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case

MIN_WEIGHT = 1e-8  # keeps the division by a sequence's mean weight finite where all of its losses are 0


def discounted(x_ST: Tensor, gamma: float) -> Tensor:
    """Σ_{k ≥ t} γ^(k−t) x_k along each row, in log₂ T steps that each double the number of terms summed."""
    reach = 1
    while reach < x_ST.shape[1]:
        x_ST = x_ST + gamma**reach * F.pad(x_ST[:, reach:], (0, reach))
        reach *= 2
    return x_ST


def future_weight(loss_N: Tensor, batch: Batch, gamma: float) -> Tensor:
    """The discounted sum of the losses from each trained token on, scaled to mean 1 in its sequence."""
    at_n = batch.train_N.nonzero()[:, 0]
    length_S = torch.bincount(batch.seq_N[at_n], minlength=batch.S)
    row_n = batch.seq_N[at_n]
    column_n = torch.arange(len(at_n), device=at_n.device) - (length_S.cumsum(0) - length_S)[row_n]
    # The sums run over padded rows of the trained tokens alone: untrained tokens in between take no part in the
    # discount.
    padded_ST = loss_N.new_zeros(batch.S, int(length_S.max()) if batch.S else 0)
    padded_ST = padded_ST.index_put((row_n, column_n), loss_N[at_n])
    future_n = discounted(padded_ST, gamma)[row_n, column_n]
    future_N = torch.zeros_like(loss_N).index_put((at_n,), future_n)
    return future_N / batch.broadcast(batch.mean_S(future_N)).clamp(min=MIN_WEIGHT)


def limits() -> Iterator[tuple]:
    made = case([[-1.0, -2.0], [-3.0]])  # sums 1 + 2γ, 2 and 3
    yield *made, {"gamma": 0.5}, [1.0, 1.0, 1.0]  # 2, 2
    yield *made, {"gamma": 1.0}, [1.2, 0.8, 1.0]  # 3, 2 over their mean 2.5
    yield *made, {"gamma": 0.0}, [2 / 3, 4 / 3, 1.0]  # 1, 2 over 1.5: the token's own loss


@part("credit", "future-loss", needs={"logp"}, couples="sequence", limits=limits)
def future_loss(out: Out, batch: Batch, *, gamma: float = 0.95) -> Tensor:
    """Weighs a token by the discounted losses from it on: credit_t ∝ Σ_{k ≥ t} γ^(k−t) ℓ_k.

    ℓ = −log π, and the mean of the credits in a sequence is 1. Early tokens, on which more tokens depend, weigh more.

    Reads    logp.
    Limits   γ = 0: a token's own loss; one token: 1; γ = 1 with equal losses: the number of tokens left, itself
             included.
    Fails    long answers with a bad end: correct beginnings get most of the weight; `nll` falls at the beginning only.
    Source   Hua et al. 2024 (arXiv 2405.11870), section 4.2, eq. 21, with the weight as a constant.
    """
    if gamma < 0:
        raise ValueError(f"gamma is {gamma}, but it discounts the losses of later tokens: set 0 or more")
    return future_weight(-out.logp_N, batch, gamma)
