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

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from scalpel.engine.prefix_tree import Above, Own, PrefixTree

ROWS = 512  # queries of a node whose scores exist at one time, where there is no kernel for it
flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def attend(
    q_BHTD: Tensor, k_BJUD: Tensor, v_BJUD: Tensor, causal: bool, scale: float, mask_B1TU: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Output [B, H, T, D] and log-sum-exp [B, H, T] of one part, in float32. A mask is added to the scores."""
    run = flash if q_BHTD.device.type == "cpu" and q_BHTD.shape[-1] == v_BJUD.shape[-1] else blockwise
    return run(q_BHTD, k_BJUD, v_BJUD, 0.0, causal, attn_mask=mask_B1TU, scale=scale)


def attend_backward(
    grad_BHTD: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    causal: bool,
    scale: float,
    mask_B1TU: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of one part, given output and log-sum-exp over all parts."""
    run = flash_backward if q.device.type == "cpu" and q.shape[-1] == v.shape[-1] else blockwise_backward
    return run(grad_BHTD, q, k, v, out, lse, 0.0, causal, attn_mask=mask_B1TU, scale=scale)


def blocks(
    q: Tensor, k: Tensor, causal: bool, scale: float, mask_B1TU: Tensor | None, rows: int
) -> Iterator[tuple[slice, int, Tensor]]:
    """Scores q·kᵀ·scale [B, J, H/J, t, u] of some queries at a time: (the queries, keys that they see, scores)."""
    B, J, U, D = k.shape
    for t in range(0, q.shape[2], rows):
        at = slice(t, min(t + rows, q.shape[2]))
        u = at.stop if causal else U
        q_BJx = q[:, :, at].reshape(B, J, -1, D)
        scores = (q_BJx @ k[:, :, :u].transpose(2, 3) * scale).view(B, J, -1, at.stop - t, u)
        if causal:
            ahead = torch.ones(at.stop - t, at.stop - t, dtype=torch.bool, device=q.device).triu(1)
            scores[..., t:].masked_fill_(ahead, -torch.inf)
        if mask_B1TU is not None:
            scores += mask_B1TU[:, :, None, at, :u]
        yield at, u, scores


def blockwise(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout: float,
    causal: bool,
    *,
    attn_mask: Tensor | None = None,
    scale: float,
    rows: int = ROWS,
) -> tuple[Tensor, Tensor]:
    """The same in plain tensor operations, for any device, with the scores of `rows` queries at one time."""
    outs, lses = [], []
    for at, u, scores in blocks(q, k, causal, scale, attn_mask, rows):
        lse = scores.logsumexp(-1)
        p_BJx = (scores - lse[..., None]).exp().flatten(2, 3)
        outs.append((p_BJx @ v[:, :, :u]).view(*q[:, :, at].shape[:3], -1))
        lses.append(lse.flatten(1, 2))
    return torch.cat(outs, 2), torch.cat(lses, 2)


def blockwise_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    dropout: float,
    causal: bool,
    *,
    attn_mask: Tensor | None = None,
    scale: float,
    rows: int = ROWS,
) -> tuple[Tensor, Tensor, Tensor]:
    """dv = pᵀ·do, ds = p∘(do·vᵀ − Σ do∘o), dq = ds·k·scale, dk = dsᵀ·q·scale."""
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    inner = (grad * out).sum(-1)
    for at, u, scores in blocks(q, k, causal, scale, attn_mask, rows):
        per_head = scores.shape[:4]
        p = (scores - lse[:, :, at].reshape(*per_head, 1)).exp()
        g_BJx = grad[:, :, at].reshape(*per_head[:2], -1, v.shape[-1])
        dv[:, :, :u] += p.flatten(2, 3).transpose(2, 3) @ g_BJx
        dp = (g_BJx @ v[:, :, :u].transpose(2, 3)).view_as(p)
        ds_BJx = (p * (dp - inner[:, :, at].reshape(*per_head, 1)) * scale).flatten(2, 3)
        dq[:, :, at] = (ds_BJx @ k[:, :, :u]).view_as(q[:, :, at])
        dk[:, :, :u] += ds_BJx.transpose(2, 3) @ q[:, :, at].reshape(*per_head[:2], -1, q.shape[-1])
    return dq, dk, dv


def parts(layout: PrefixTree) -> list[tuple[slice, slice, int, bool]]:
    """(queries, keys, nodes side by side, causal) of each part.

    Nodes on themselves come first. Every place outside of bundles is in exactly one such part, so these parts write
    their result into uninitialised memory, and the parts on nodes above are added to it.
    """

    def own(o: Own) -> tuple[slice, slice, int, bool]:
        return slice(o.start, o.stop), slice(o.start, o.stop), o.count, True

    def above(a: Above) -> tuple[slice, slice, int, bool]:
        return slice(a.start, a.stop), slice(a.key_start, a.key_stop), 1, False

    return [*map(own, layout.own), *map(above, layout.above)]


def nodes(x_MHD: Tensor, at: slice, count: int) -> Tensor:
    """The places `at` as [count, H, T, D]."""
    return x_MHD[at].unflatten(0, (count, -1)).transpose(1, 2)


class TreeAttention(torch.autograd.Function):
    """o = softmax(q·kᵀ·scale) v over what each place sees.

    Softmax and sums are taken in float32 whatever comes in, as fused kernels do inside. On the CPU that is the
    faster way too: its backward kernel takes two to three times as long in bfloat16, for short nodes far more.
    """

    @staticmethod
    def forward(ctx: Any, q_MHD: Tensor, k_MJD: Tensor, v_MJD: Tensor, layout: PrefixTree, scale: float) -> Tensor:
        ctx.layout, ctx.scale = layout, scale
        q, k, v = q_MHD.float(), k_MJD.float(), v_MJD.float()
        out_MHD = q.new_empty(*q.shape[:2], v.shape[2])
        lse_MH = q.new_empty(q.shape[:2])
        if (w := layout.bundles) is not None:
            o, lse = attend(w.take(q), w.take(k), w.take(v), False, scale, w.mask_B1WW)
            w.put(out_MHD, o)
            w.put(lse_MH, lse)
        for at, keys, count, causal in parts(layout):
            q_BHTD, k_BJUD, v_BJUD = nodes(q, at, count), nodes(k, keys, count), nodes(v, keys, count)
            o, lse = attend(q_BHTD, k_BJUD, v_BJUD, causal, scale)
            o, lse = o.transpose(1, 2).flatten(0, 1), lse.transpose(1, 2).flatten(0, 1)
            if causal:
                out_MHD[at], lse_MH[at] = o, lse
            else:
                merge_(out_MHD[at], lse_MH[at], o, lse)
        # The output is saved in the model's precision, as FlashAttention does: Σ do∘o in the backward pass changes only
        # within that rounding. The log-sum-exp must stay float32, since the backward pass takes exp(score − lse).
        out_MHD = out_MHD.to(q_MHD.dtype)
        ctx.save_for_backward(q_MHD, k_MJD, v_MJD, out_MHD, lse_MH)
        return out_MHD

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_MHD: Tensor) -> tuple[Tensor | None, ...]:
        q_MHD, k_MJD, v_MJD, out_MHD, lse_MH = ctx.saved_tensors
        q, k, v, out, grad = (x.float() for x in (q_MHD, k_MJD, v_MJD, out_MHD, grad_MHD))
        grads = [torch.empty_like(x) for x in (q, k, v)]
        if (w := ctx.layout.bundles) is not None:
            o_and_lse = w.take(out), w.take(lse_MH)
            given = w.take(grad), w.take(q), w.take(k), w.take(v)
            found = attend_backward(*given, *o_and_lse, False, ctx.scale, w.mask_B1WW)
            for whole, part in zip(grads, found, strict=True):
                w.put(whole, part)
        for at, keys, count, causal in parts(ctx.layout):
            g, q_BHTD, o = (nodes(x, at, count) for x in (grad, q, out))
            lse = lse_MH[at].unflatten(0, (count, -1)).transpose(1, 2)
            k_BJUD, v_BJUD = nodes(k, keys, count), nodes(v, keys, count)
            found = attend_backward(g, q_BHTD, k_BJUD, v_BJUD, o, lse, causal, ctx.scale)
            for whole, part, where in zip(grads, found, (at, keys, keys), strict=True):
                part = part.transpose(1, 2).flatten(0, 1)
                if causal:
                    whole[where] = part
                else:
                    whole[where] += part
        return *(x.to(q_MHD.dtype) for x in grads), None, None


def merge_(out_MHD: Tensor, lse_MH: Tensor, more_MHD: Tensor, more_lse_MH: Tensor) -> None:
    """Merges another part into the attention computed so far, in place. The two weights e^(l₁−l) and e^(l₂−l) add up to
    1, so it is a linear interpolation, which never divides by a small sum."""
    both_MH = torch.logaddexp(lse_MH, more_lse_MH)
    out_MHD.lerp_(more_MHD, (more_lse_MH - both_MH).exp_()[..., None])
    lse_MH.copy_(both_MH)
