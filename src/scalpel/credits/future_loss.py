"""Tokens by what depends on them."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case

LEAST = 1e-8  # a sequence whose losses sum to less has no weights


def discounted(x_ST: Tensor, gamma: float) -> Tensor:
    """Σ_{k ≥ t} γ^(k−t) x_k along each row, in log₂ T doublings."""
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
    laid_ST = loss_N.new_zeros(batch.S, int(length_S.max()) if batch.S else 0)
    laid_ST = laid_ST.index_put((row_n, column_n), loss_N[at_n])
    ahead_n = discounted(laid_ST, gamma)[row_n, column_n]
    ahead_N = torch.zeros_like(loss_N).index_put((at_n,), ahead_n)
    return ahead_N / batch.spread(batch.mean_S(ahead_N)).clamp(min=LEAST)


def limits() -> Iterator[tuple]:
    made = case([[-1.0, -2.0], [-3.0]])  # sums 1 + 2γ, 2 and 3
    yield *made, {"gamma": 0.5}, [1.0, 1.0, 1.0]  # 2, 2
    yield *made, {"gamma": 1.0}, [1.2, 0.8, 1.0]  # 3, 2 over their mean 2.5
    yield *made, {"gamma": 0.0}, [2 / 3, 4 / 3, 1.0]  # 1, 2 over 1.5: the token's own loss


@part("credit", "future-loss", needs={"logp"}, couples="sequence", limits=limits)
def future_loss(out: Out, batch: Batch, *, gamma: float = 0.95) -> Tensor:
    """A token counts as much as the losses of those that follow from it: credit_t ∝ Σ_{k ≥ t} γ^(k−t) ℓ_k.

    ℓ = −log π, and the mean of the credits in a sequence is 1. Early tokens, on which more depends, count more.

    Reads    logp.
    Limits   γ = 0: a token's own loss; one token: 1; γ = 1 with equal losses: as many as follow, itself included.
    Fails    long answers with a bad end: beginnings that were right are pushed on; `nll` falls at the beginning only.
    Source   Hua et al. 2024 (arXiv 2405.11870), section 4.2, eq. 21, with the weight as a constant.
    """
    if gamma < 0:
        raise ValueError(f"gamma is {gamma}: later losses would count against earlier ones; set 0 or more")
    return future_weight(-out.logp_N, batch, gamma)
