"""The diagonal of the empirical Fisher information: squared gradients of log-probs, summed over sequences."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from scalpel.batch import Batch
from scalpel.engine.engine import Engine


def squared_slopes(engine: Engine, weights: Mapping[str, nn.Parameter], batch: Batch) -> dict[str, Tensor]:
    """Σ over sequences of (∂ Σ_t log π(y_t) / ∂θ)², entry by entry. One sequence at a time, dropout off; the policy
    holds no gradients afterwards."""
    total = {name: torch.zeros_like(p) for name, p in weights.items()}
    with engine.without_dropout():
        for s in torch.unique(batch.seq_N[batch.train_N]).tolist():
            engine.forward(batch.pick(torch.tensor([s]))).logp_N.sum().backward()
            for name, p in weights.items():
                if p.grad is not None:
                    total[name] += p.grad**2
            engine.model.zero_grad(set_to_none=True)
    return total
