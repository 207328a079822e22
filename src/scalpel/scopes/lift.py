"""Low-rank informed sparse fine-tuning."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from scalpel.binding.bounds import Rank, Share, Steps
from scalpel.models.parameter_blocks import index_map_of, matrices
from scalpel.part import part
from scalpel.scope import IndexMap, Scope, ScopeContext, Trainable, freeze_all
from scalpel.seeding import derive

SVD = Literal["exact", "randomised"]


def low_rank(W_DD: Tensor, rank: int, svd: SVD = "exact", seed: int = 0) -> Tensor:
    """W_r = U_r S_r V_rᵀ, the best approximation of that rank, or nearly so by random projection onto 2r dimensions."""
    # float32: the SVD isn't implemented for bfloat16, and the order of the largest entries depends on its precision.
    if svd == "exact":
        U, s, Vh = torch.linalg.svd(W_DD.float(), full_matrices=False)
    else:
        # torch.svd_lowrank draws from the global generator; the fork keeps the run's other random numbers as they are.
        with torch.random.fork_rng([W_DD.device] if W_DD.is_cuda else []):
            torch.manual_seed(seed)
            U, s, V = torch.svd_lowrank(W_DD.float(), q=min(2 * rank, *W_DD.shape), niter=2)
        Vh = V.T
    return (U[:, :rank] * s[:rank]) @ Vh[:rank]


def principal(W_DD: Tensor, rank: int, k: int, svd: SVD = "exact", seed: int = 0) -> Tensor:
    """Flat positions, ascending, of the k entries of W whose magnitude is largest in the approximation W_r."""
    return low_rank(W_DD, rank, svd, seed).abs().view(-1).topk(k).indices.sort().values


@part("scope", "lift")
def lift(
    model: nn.Module,
    context: ScopeContext,
    *,
    share: Share = 0.05,
    budget: int | None = None,
    rank: Rank = 128,
    interval: Steps = 400,
    svd: SVD = "exact",
) -> Scope:
    """Trains only the principal weights of each matrix: the entries that are largest in its low-rank approximation.

        M = top-k of |W_r|, W_r = U_r S_r V_rᵀ;   k = share · d_out · d_in, or (d_out + d_in) · budget, the number
        of parameters of a LoRA adapter of that rank

    Every `interval` steps (0: never) they are selected again from the current weights; entries selected before keep
    their optimiser state, new ones start at zero. Embeddings, head, norms and biases are frozen. `rank` is at most a
    sixteenth of the smaller side, since at full rank the approximation is the matrix itself; it is 1/32 to 1/128 of the
    width in the authors' settings. Each expert is a matrix of its own.

    Reads    matrices inside the layers.
    Limits   full rank: the largest weights by magnitude; share 1: every matrix is trained entirely.
    Fails    share too small: the loss stalls. The SVD is slow on wide matrices: take svd "randomised".
    Source   Liu et al. 2025 (arXiv 2506.00772), section 3.2, eq. 1-2; settings from the authors' scripts.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, but it is the trainable share of each matrix: set it above 0, at most 1")
    weights = {p.name: p.parameter for p in matrices(model)}

    def index(name: str, weight: Tensor, step: int) -> Tensor:
        if weight.dim() == 3:  # a matrix for each expert
            size = weight[0].numel()
            return torch.cat([e * size + index(f"{name}.{e}", one, step) for e, one in enumerate(weight)])
        k = int(share * weight.numel()) if budget is None else sum(weight.shape) * budget
        cut = max(1, min(rank, min(weight.shape) // 16))
        k = max(1, min(k, weight.numel()))
        return principal(weight.detach(), cut, k, svd, derive(context.seed, name, step) % 2**63)

    def attach(chosen: Mapping[str, Tensor]) -> list[Trainable]:
        freeze_all(model)
        for weight in weights.values():
            weight.requires_grad_(True)
        return [Trainable(name, weight, chosen[name]) for name, weight in weights.items()]

    def choose(step: int) -> dict[str, Tensor]:
        return {name: index(name, weight, step) for name, weight in weights.items()}

    scope = Scope(attach(choose(0)))

    def take(chosen: Mapping[str, Tensor]) -> IndexMap:
        before, scope.trainables = scope.trainables, attach(chosen)
        return index_map_of(before, scope.trainables)

    def restore(state: Mapping[str, Any]) -> None:
        take({name: x.to(weights[name].device) for name, x in state["index"].items()})

    scope.refresh = lambda step: take(choose(step)) if interval and step % interval == 0 else None
    scope.state = lambda: {"index": {m.name: m.index for m in scope.trainables}}
    scope.restore = restore
    return scope
