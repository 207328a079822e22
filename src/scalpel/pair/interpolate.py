"""Weights on the straight line between two models.

θ(t) = θ₀ + t (θ₁ − θ₀).   t = 0 is the base, t = 1 the tuned model, both bit for bit; t = ½ is halfway.

Source: Wortsman et al. 2021, arXiv 2109.01903 (WiSE-FT).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def interpolate(base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], t: float) -> dict[str, Tensor]:
    """The state at t, in the base's dtypes; what isn't floating point is the base's."""
    if set(base) != set(tuned):
        odd = sorted(set(base) ^ set(tuned))
        raise ValueError(
            f"{len(odd)} tensors are in one of the two states only, {odd[0]!r} for one; "
            "both must come from one architecture, with adapters folded in"
        )
    return {name: between(base[name], tuned[name], t, name) for name in base}


def between(base: Tensor, tuned: Tensor, t: float, name: str) -> Tensor:
    """One tensor at t. Half precision is interpolated in float32: θ₁ − θ₀ is small relative to θ₀, so the rounding of
    half precision would dominate it."""
    if base.shape != tuned.shape:
        raise ValueError(
            f"{name!r} has shape {tuple(base.shape)} in the base and {tuple(tuned.shape)} in the tuned model; "
            "only models of one architecture can be mixed (was the vocabulary resized?)"
        )
    base, tuned = base.detach(), tuned.detach()
    if not base.is_floating_point():
        return base.clone()
    wide = torch.promote_types(torch.promote_types(base.dtype, tuned.dtype), torch.float32)
    return torch.lerp(base.to(wide), tuned.to(base.device, wide), t).to(base.dtype)
