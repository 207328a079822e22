"""Weights laid out once for many products with few rows.

On a CPU the kernel for a matrix product brings the weight into its own layout each time, which for a few dozen rows
takes as long as the product; under autocast the weight is cast to bfloat16 before that. While tokens are sampled the
weights don't change, so both are done once. The numbers are those of the plain product: to the bit in bfloat16, to
rounding in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalpel.engine.recompute_layers import LeanLinear

LARGE = 1 << 16  # entries from which a weight is worth its own layout
ROWS = 32  # for which the layout is chosen; it serves from 4 to 1,024 as well
WORTH = 256  # rows to be fed in all, below which nothing is prepared


@contextmanager
def prepacked(model: nn.Module, precision: str, fed: int):
    """Inside, plain linear layers multiply with prepared weights; `fed` is about how many rows will come. Nothing may
    be trained meanwhile."""
    changed = [(m, made) for m in model.modules() if fed >= WORTH and (made := prepared(m, precision))]
    for module, forward in changed:
        module.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module, _ in changed:
            del module.forward


def prepared(module: nn.Module, precision: str) -> Callable[[Tensor], Tensor] | None:
    """The module's forward pass with its weight prepared, or None where there is nothing to gain."""
    if type(module) not in (nn.Linear, LeanLinear) or "forward" in vars(module):
        return None
    assert isinstance(module, nn.Linear)
    weight, bias = module.weight.detach(), module.bias
    dtype = torch.bfloat16 if precision == "bfloat16" else weight.dtype
    cast_bias = None if bias is None else bias.detach().to(dtype)
    if weight.numel() >= LARGE and lays_out(weight.device, dtype):
        return partial(packed_linear, torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype), ROWS), cast_bias)
    return partial(linear, weight.to(dtype), cast_bias) if dtype != weight.dtype else None


def lays_out(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN is there for this device and type."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    has = hasattr(torch.ops.mkldnn, "_reorder_linear_weight") and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return has and (
        dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def packed_linear(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x.to(weight.dtype), weight, bias, "none", [], "")


def linear(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    return F.linear(x.to(weight.dtype), weight, bias)
