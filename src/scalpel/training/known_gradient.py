"""Gradients that are known before the forward pass.

    L = Σ_t a_t · f(log π(y_t) − old_t),  old = log π, detached   ⇒   ∂L/∂log π(y_t) = a_t · f'(0), whatever π is

Likelihood and the first policy-gradient update on a batch are of that kind. The head can then compute its gradients
while it holds the logits, in one pass. The engine compares the actual gradient with the predicted one, so a wrong
prediction costs time only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.config.plan import Stream
from scalpel.part import Out


def known_slope(stream: Stream, batch: Batch, progress: float, loss: Callable[[Out], Tensor]) -> Tensor | None:
    """∂L/∂log π, [N], if every loss of the stream is steady and its credits are known; else None."""
    if not steady(stream, batch, progress):
        return None
    anywhere_N = torch.zeros(batch.N, device=batch.ids_N.device, requires_grad=True)
    total = loss(Out(anywhere_N))
    return torch.autograd.grad(total, anywhere_N)[0] if total.requires_grad else None


def steady(stream: Stream, batch: Batch, progress: float) -> bool:
    losses = [p for signal in stream.signals for p in signal.losses]
    if any(p.waits(progress) for signal in stream.signals for p in signal.credits):
        return False
    if batch.old_N is not None and any("old" in p.declared("reads", progress) for p in losses):
        return False
    return all(p.part.steady and p.declared("needs", progress) <= {"logp"} for p in losses)
