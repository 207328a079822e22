"""Attention of a layout: each node on itself, and on the nodes above it, exactly and without a mask.

What a token sees is split into parts (its own node, and each node above), and each part is an attention of its
own, softmax included. With outputs o₁, o₂ and log-sum-exps l₁, l₂ of two parts, the attention over both is

    l = log(e^l₁ + e^l₂)        o = e^(l₁−l)·o₁ + e^(l₂−l)·o₂

and since the backward pass of attention needs of the softmax only l and o, each part's gradients come from the
usual backward kernel, given the l and o of the whole.

Source: the merge as in Juravsky et al. 2024 (Hydragen, arXiv 2402.05099), eq. 3; the backward pass as in Dao et al.
2022 (arXiv 2205.14135), appendix B.2.

    M  places    H  query heads    J  key heads    D  width of a head    B  nodes    T, U  queries, keys of a node
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scalpel.engine.layout import Above, Layout, Own

ops = torch.ops.aten


def attend(q_BHTD: Tensor, k_BJUD: Tensor, v_BJUD: Tensor, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """Output [B, H, T, D] and log-sum-exp [B, H, T] of one part."""
    return ops._scaled_dot_product_flash_attention_for_cpu(q_BHTD, k_BJUD, v_BJUD, 0.0, causal, scale=scale)


def attend_backward(
    grad_BHTD: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of one part, given output and log-sum-exp over all parts."""
    backward = ops._scaled_dot_product_flash_attention_for_cpu_backward
    return backward(grad_BHTD, q, k, v, out, lse, 0.0, causal, scale=scale)


def parts(layout: Layout) -> list[tuple[slice, slice, int, bool]]:
    """(queries, keys, nodes side by side, causal) of each part; those on their own nodes come first."""

    def own(o: Own) -> tuple[slice, slice, int, bool]:
        return slice(o.start, o.stop), slice(o.start, o.stop), o.count, True

    def above(a: Above) -> tuple[slice, slice, int, bool]:
        return slice(a.start, a.stop), slice(a.key_start, a.key_stop), 1, False

    return [*map(own, layout.own), *map(above, layout.above)]


def nodes(x_MHD: Tensor, at: slice, count: int) -> Tensor:
    """The places `at` as [count, H, T, D]."""
    return x_MHD[at].unflatten(0, (count, -1)).transpose(1, 2)


class LayoutAttention(torch.autograd.Function):
    """o = softmax(q·kᵀ·scale) v over what each place sees."""

    @staticmethod
    def forward(ctx: Any, q_MHD: Tensor, k_MJD: Tensor, v_MJD: Tensor, layout: Layout, scale: float) -> Tensor:
        out_MHD = q_MHD.new_empty(*q_MHD.shape[:2], v_MJD.shape[2])
        lse_MH = q_MHD.new_empty(q_MHD.shape[:2], dtype=torch.float32)
        for at, keys, count, causal in parts(layout):
            k, v = nodes(k_MJD, keys, count), nodes(v_MJD, keys, count)
            o, lse = attend(nodes(q_MHD, at, count), k, v, causal, scale)
            o, lse = o.transpose(1, 2).flatten(0, 1), lse.transpose(1, 2).flatten(0, 1)
            if causal:
                out_MHD[at], lse_MH[at] = o, lse
            else:
                merge_(out_MHD[at], lse_MH[at], o, lse)
        ctx.save_for_backward(q_MHD, k_MJD, v_MJD, out_MHD, lse_MH)
        ctx.layout, ctx.scale = layout, scale
        return out_MHD

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_MHD: Tensor) -> tuple[Tensor | None, ...]:
        q_MHD, k_MJD, v_MJD, out_MHD, lse_MH = ctx.saved_tensors
        grads = [torch.empty_like(x) for x in (q_MHD, k_MJD, v_MJD)]
        for at, keys, count, causal in parts(ctx.layout):
            k, v = nodes(k_MJD, keys, count), nodes(v_MJD, keys, count)
            of_queries = [nodes(x, at, count) for x in (grad_MHD, q_MHD, out_MHD)]
            lse = lse_MH[at].unflatten(0, (count, -1)).transpose(1, 2)
            found = attend_backward(of_queries[0], of_queries[1], k, v, of_queries[2], lse, causal, ctx.scale)
            for whole, part, where in zip(grads, found, (at, keys, keys), strict=True):
                part = part.transpose(1, 2).flatten(0, 1)
                if causal:
                    whole[where] = part
                else:
                    whole[where] += part
        return *grads, None, None


def merge_(out_MHD: Tensor, lse_MH: Tensor, more_MHD: Tensor, more_lse_MH: Tensor) -> None:
    """Adds a part to what is there already."""
    both_MH = torch.logaddexp(lse_MH, more_lse_MH)
    share_MH1 = (more_lse_MH - both_MH).exp()[..., None].to(out_MHD.dtype)
    out_MHD.lerp_(more_MHD, share_MH1)
    lse_MH.copy_(both_MH)
