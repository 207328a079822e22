"""Layers that save less memory for the backward pass, by recomputing cheap activations (selective recomputation).

The backward pass of a matrix product needs its input. An input that a norm or a gate computed from a tensor that is
saved anyway is recomputed instead of saved; and a weight is cast to the dtype of the arithmetic when it is needed,
instead of saving the cast copy. Results are bit-equal to those of the replaced layers.

`recompute_layers(model)` changes the class of known modules, one instance at a time: parameters, names and files are
unchanged. Unknown modules are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3")  # h = x + attention(norm(x)), then h + mlp(norm(h))
NORMS = ("input_layernorm", "post_attention_layernorm")  # of a layer, read by linear maps alone
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Again(NamedTuple):
    """How an input is recomputed, and from which saved tensors."""

    run: Callable[..., Tensor]
    sources: tuple[Tensor, ...]


def arithmetic(x: Tensor) -> torch.dtype:
    """The precision in which a matrix product of x would be computed."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class _Linear(torch.autograd.Function):
    """y = x Wᵀ + b. Saves W uncast, and x only if it can't be recomputed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, again: Again | None) -> Tensor:
        kind = arithmetic(x)
        ctx.kind, ctx.run, x = kind, again.run if again else None, x.to(kind)  # not the sources: autograd keeps them
        ctx.save_for_backward(weight, *(again.sources if again else [x] if weight.requires_grad else []))
        return F.linear(x, weight.to(kind), None if bias is None else bias.to(kind))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        weight, *sources = ctx.saved_tensors
        to_x, to_weight, to_bias, _ = ctx.needs_input_grad
        g_NO = g.reshape(-1, g.shape[-1])
        grad_x = grad_weight = None
        if to_x:
            grad_x = (g_NO @ weight.to(ctx.kind)).view(*g.shape[:-1], -1)
        if to_weight:
            x = ctx.run(*sources) if ctx.run else sources[0]
            grad_weight = (g_NO.t() @ x.reshape(-1, x.shape[-1])).to(weight.dtype)
        return grad_x, grad_weight, g_NO.sum(0).to(weight.dtype) if to_bias else None, None


class _Norm(torch.autograd.Function):
    """y = w · x / rms(x), in the precision of the linear maps that read it. Keeps x and 1 / rms(x).

        dx = r w g − x r³ / D · Σ w g x,   dw = Σ_N g x r;   r = 1 / rms(x)

    Source   Zhang & Sennrich 2019 (arXiv 1910.07467), eq. 4.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        r = one_over_rms(x, eps)
        ctx.save_for_backward(x, weight, r)
        ctx.mark_non_differentiable(r)
        return normed(x, weight, r, kind), r

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, r = ctx.saved_tensors
        D = x.shape[-1]
        x_ND, g_ND, r_N1, w_D = x.float().view(-1, D), g.float().reshape(-1, D), r.view(-1, 1), weight.float()
        gx_ND = g_ND * x_ND
        grad_weight = (gx_ND.t() @ r_N1)[:, 0].to(weight.dtype) if ctx.needs_input_grad[1] else None
        pull_N1 = (gx_ND @ w_D)[:, None] * r_N1.pow(3) / -D
        grad_x = (g_ND * w_D).mul_(r_N1).addcmul_(x_ND, pull_N1)
        return grad_x.view(x.shape).to(x.dtype), grad_weight, None, None


def one_over_rms(x: Tensor, eps: float) -> Tensor:
    return torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + eps)


def normed(x: Tensor, weight: Tensor, r: Tensor, kind: torch.dtype) -> Tensor:
    return (weight * (x * r).to(x.dtype)).to(kind)


class _Gate(torch.autograd.Function):
    """y = silu(a) · b. Keeps a and b.

    Source   Shazeer 2020 (arXiv 2002.05202), eq. 6.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return gated(a, b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        return torch.ops.aten.silu_backward(g * b, a), F.silu(a).mul_(g)


def gated(a: Tensor, b: Tensor) -> Tensor:
    return F.silu(a).mul_(b)


class LeanLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return super().forward(x)
        return _Linear.apply(x, self.weight, self.bias, getattr(x, "again", None))


class LeanNorm(nn.Module):
    weight: nn.Parameter
    variance_epsilon: float

    def forward(self, x: Tensor) -> Tensor:
        kind = arithmetic(x)
        if not torch.is_grad_enabled():
            return normed(x, self.weight, one_over_rms(x, self.variance_epsilon), kind)
        y, r = _Norm.apply(x, self.weight, self.variance_epsilon, kind)
        y.again = Again(lambda x, w, r: normed(x, w, r, kind), (x.detach(), self.weight.detach(), r))
        return y


class LeanGate(nn.Module):
    gate_proj: nn.Module
    up_proj: nn.Module
    down_proj: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.gate_proj(x), self.up_proj(x)
        if not torch.is_grad_enabled():
            return self.down_proj(gated(a, b))
        y = _Gate.apply(a, b)
        y.again = Again(gated, (a.detach(), b.detach()))
        return self.down_proj(y)


def found(model: nn.Module) -> Iterator[tuple[nn.Module, type[nn.Module]]]:
    """The modules that have a memory-saving form, with that form."""
    for layer in model.modules():
        family = type(layer).__name__.removesuffix("DecoderLayer")
        if family not in FAMILIES or not type(layer).__module__.startswith("transformers."):
            continue
        for name, module in layer.named_modules():
            last, kind = name.rpartition(".")[2], type(module)
            if last in LINEARS and kind is nn.Linear:
                yield module, LeanLinear
            elif isinstance(module, LeanNorm | LeanGate):
                continue
            elif name in NORMS and kind.__name__ == f"{family}RMSNorm":
                yield module, LeanNorm
            elif name == "mlp" and kind.__name__ == f"{family}MLP" and is_silu(module.act_fn):
                yield module, LeanGate


def is_silu(act: Any) -> bool:
    return isinstance(act, nn.SiLU) or type(act).__name__ == "SiLUActivation"


def recompute_layers(model: nn.Module) -> int:
    """Replaces the class of every known module by its memory-saving form, and returns their number."""
    chosen = list(found(model))
    for module, form in chosen:
        module.__class__ = form if form is LeanLinear else joined(form, type(module))
    return len(chosen)


def joined(form: type[nn.Module], kind: type[nn.Module]) -> type[nn.Module]:
    """A subclass of the module's own class in which the memory-saving form comes first."""
    return type(kind.__name__, (form, kind), {})
