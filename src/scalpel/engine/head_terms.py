"""Head terms: pure functions of a chunk's logits that give one number per token.

Each is `(logits_CV, other_CV | None, target_C, *, …) → term_C`, in float32, run inside the engine.
p is the model's own distribution, q the other's (reference or teacher), both over the whole vocabulary.

A function registered under "slope" and the name of a term gives its derivative ∂term_C/∂logits_CV from the same
arguments. With it the head keeps no graph over the vocabulary; a term without one is differentiated by autograd.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scalpel.registry import register


@register("term", "forward_kl")
def forward_kl(logits_CV: Tensor, other_CV: Tensor, target_C: Tensor, *, temperature: float = 1.0) -> Tensor:
    """KL(q ‖ p) = Σ_v q·(log q − log p), both at `temperature`, times temperature² so that gradients keep
    their size. Source: Hinton et al. 2015 (arXiv 1503.02531), section 2."""
    p, q = (logits_CV / temperature).log_softmax(-1), (other_CV / temperature).log_softmax(-1)
    return (q.exp() * (q - p)).sum(-1) * temperature**2


@register("slope", "forward_kl")
def forward_kl_slope(logits_CV: Tensor, other_CV: Tensor, target_C: Tensor, *, temperature: float = 1.0) -> Tensor:
    """∂/∂z_v = temperature · (p_v − q_v)."""
    return temperature * ((logits_CV / temperature).softmax(-1) - (other_CV / temperature).softmax(-1))


@register("term", "reverse_kl")
def reverse_kl(logits_CV: Tensor, other_CV: Tensor, target_C: Tensor) -> Tensor:
    """KL(p ‖ q) = Σ_v p·(log p − log q): exact, where k1, k2 and k3 estimate it from samples of p."""
    p, q = logits_CV.log_softmax(-1), other_CV.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


@register("slope", "reverse_kl")
def reverse_kl_slope(logits_CV: Tensor, other_CV: Tensor, target_C: Tensor) -> Tensor:
    """∂/∂z_v = p_v · (log p_v − log q_v − KL(p ‖ q))."""
    p, q = logits_CV.log_softmax(-1), other_CV.log_softmax(-1)
    ratio, p = p - q, p.exp()
    return p * (ratio - (p * ratio).sum(-1, keepdim=True))


@register("term", "own_choice")
def own_choice(logits_CV: Tensor, other_CV: Tensor | None, target_C: Tensor) -> Tensor:
    """−log max_v p_v: how far the model is from being sure of its own first choice. Source: Burns et al. 2023 (arXiv
    2312.09390), section 4.3, the hardened prediction."""
    return logits_CV.logsumexp(-1) - logits_CV.max(-1).values


@register("slope", "own_choice")
def own_choice_slope(logits_CV: Tensor, other_CV: Tensor | None, target_C: Tensor) -> Tensor:
    """∂/∂z_v = p_v − 1[v = the first choice]."""
    first_C1 = logits_CV.argmax(-1, keepdim=True)
    return logits_CV.softmax(-1).scatter_add(1, first_C1, -torch.ones_like(first_C1, dtype=logits_CV.dtype))
