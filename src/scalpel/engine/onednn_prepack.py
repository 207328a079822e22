"""Prepacked weights for many matrix products with few rows, by oneDNN.

On a CPU the kernel of a matrix product reorders the weight into its own layout at every call, which for a few dozen
rows takes as long as the product; under autocast the weight is cast to bfloat16 before that. While tokens are sampled
the weights don't change, so both are done once. The results are those of the plain product: bit-equal in bfloat16, up
to rounding in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalpel.engine.recompute_layers import LeanLinear

LARGE = 1 << 16  # entries from which a weight is prepacked
ROWS = 32  # rows for which the layout is chosen; it is good from 4 to 1,024 as well
WORTH = 256  # rows of all calls together below which nothing is prepacked


@contextmanager
def prepacked(model: nn.Module, precision: str, fed: int):
    """Within this context plain linear layers use prepacked weights; `fed` is the approximate number of rows of all
    calls. Weights must not change meanwhile: the copies would be stale."""
    changed = [(m, made) for m in model.modules() if fed >= WORTH and (made := prepared(m, precision))]
    for module, forward in changed:
        module.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module, _ in changed:
            del module.forward


def prepared(module: nn.Module, precision: str) -> Callable[[Tensor], Tensor] | None:
    """The module's forward function with a prepacked weight, or None if that gains nothing."""
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
    """Whether oneDNN is available for this device and dtype."""
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
