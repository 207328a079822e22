"""Draws one token per row, exactly, in a few passes over the logits."""

from __future__ import annotations

import torch
from torch import Tensor

from scalpel.engine.sampling_request import Sampling

BLOCK = 256  # tokens per block of the first, coarse search in the cumulative distribution


def uniforms(seed: int, row: int, length: int) -> list[float]:
    """The random numbers of one row. They depend on (seed, row, position) only, so that a sample doesn't depend on what
    else is in the batch."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + row * 7919 + 12345) % (2**63 - 1))
    return torch.rand(length, generator=generator, dtype=torch.float64).tolist()


def choose(logits_RV: Tensor, u_R: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """One token a row, and its log-prob under the policy at the temperature (greedy: at 1), before top-k and top-p.

    The token is the first v whose cumulative probability exceeds u. With weights w_v = exp((z_v − max z) / T), which
    are zero outside top-k and top-p, it is looked for among sums of whole blocks first, then inside one block.
    """
    most_R1 = logits_RV.amax(-1, keepdim=True)
    weight_RV = (logits_RV - most_R1).exp_()
    norm_R = weight_RV.sum(-1).log() + most_R1[:, 0]
    if not bool(norm_R.isfinite().all()):
        raise ValueError(
            f"the model's logits are NaN or infinite in {int((~norm_R.isfinite()).sum())} of {len(norm_R)} rows, so "
            "nothing can be drawn from them: its weights have diverged, start from an earlier checkpoint"
        )
    if sampling.temperature == 0:
        token_R = logits_RV.argmax(-1)
    else:
        if sampling.temperature != 1:
            weight_RV = torch.sub(logits_RV, most_R1, out=weight_RV).div_(sampling.temperature).exp_()
            norm_R = weight_RV.sum(-1).log() * sampling.temperature + most_R1[:, 0]
        if sampling.top_k or sampling.top_p < 1:
            weight_RV.masked_fill_(weight_RV < least(weight_RV, sampling)[:, None], 0.0)
        token_R = inverted(weight_RV, u_R)
    logp_R = logits_RV.gather(1, token_R[:, None])[:, 0] - norm_R
    return token_R, logp_R if sampling.scale == 1 else logp_R / sampling.scale


def entropies(logits_RV: Tensor, temperature: float) -> Tensor:
    """The entropy of each row's distribution at a temperature, in nats."""
    return torch.special.entr((logits_RV.float() / temperature).softmax(-1)).sum(-1)


def least(weight_RV: Tensor, sampling: Sampling) -> Tensor:
    """The smallest weight that may be drawn under top-k and top-p. Tokens that tie with it may be drawn, too, so the
    set doesn't depend on the order of sorting."""
    floor_R = torch.zeros_like(weight_RV[:, 0])
    V = weight_RV.shape[1]
    if sampling.top_k and sampling.top_k < V:
        floor_R = weight_RV.topk(sampling.top_k).values[:, -1]
    if sampling.top_p < 1:
        inside_RV = weight_RV.masked_fill(weight_RV < floor_R[:, None], 0.0) if sampling.top_k else weight_RV
        floor_R = torch.maximum(floor_R, nucleus(inside_RV, sampling.top_p))
    return floor_R


def nucleus(weight_RV: Tensor, p: float) -> Tensor:
    """The weight of the last token of the nucleus, the smallest set of tokens with a probability of at least p."""
    V, k = weight_RV.shape[1], 64
    wanted_R1 = p * weight_RV.sum(-1, keepdim=True, dtype=torch.float64)
    while True:
        top_RK = weight_RV.topk(min(k, V)).values
        before_RK = top_RK.cumsum(-1, dtype=torch.float64) - top_RK
        if k >= V or bool((before_RK[:, -1:] + top_RK[:, -1:] >= wanted_R1).all()):
            last_R1 = ((before_RK < wanted_R1) & (top_RK > 0)).sum(-1, keepdim=True) - 1
            return top_RK.gather(1, last_R1.clamp(min=0))[:, 0]
        k *= 8


def inverted(weight_RV: Tensor, u_R: Tensor) -> Tensor:
    """The first v with Σ_{i ≤ v} w_i > u·Σ_i w_i. A token without weight is never it."""
    R, V = weight_RV.shape
    block = min(BLOCK, V)
    whole_RBC = weight_RV[:, : V // block * block].view(R, -1, block)
    sum_RB = whole_RBC.sum(-1).double()
    if V % block:
        rest_R1 = weight_RV[:, V // block * block :].sum(-1, keepdim=True).double()
        sum_RB = torch.cat([sum_RB, rest_R1], 1)
    cdf_RB = sum_RB.cumsum(-1)
    aim_R1 = (u_R * cdf_RB[:, -1])[:, None]
    block_R1 = first_above(cdf_RB, aim_R1)
    aim_R1 = aim_R1 - (cdf_RB.gather(1, block_R1) - sum_RB.gather(1, block_R1))
    place_RC = block_R1 * block + torch.arange(block, device=weight_RV.device)
    inside_RC = weight_RV.gather(1, place_RC.clamp(max=V - 1)).double().masked_fill_(place_RC >= V, 0.0)
    return place_RC.gather(1, first_above(inside_RC.cumsum(-1), aim_R1))[:, 0]


def first_above(cdf_RB: Tensor, aim_R1: Tensor) -> Tensor:
    """The first index where the cumulative sum exceeds the target; if rounding leaves none, the last index with a
    positive weight."""
    place_R1 = torch.searchsorted(cdf_RB, aim_R1.clamp(min=0.0), right=True)
    last_R1 = torch.searchsorted(cdf_RB, cdf_RB[:, -1:].contiguous())  # the first that reaches the total
    return torch.minimum(place_R1, last_R1)
