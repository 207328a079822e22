"""What stands between hidden states and logits: a matrix, perhaps a bias, a factor and a soft cap."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Finish:
    """What an architecture does after the matrix: logits = cap·tanh(z/cap), z = factor·raw; without a cap, z."""

    factor: float = 1.0
    cap: float | None = None

    def logits(self, raw_CV: Tensor) -> Tensor:
        """In float32, whatever the arithmetic before."""
        z_CV = raw_CV.float() if self.factor == 1.0 else raw_CV.float() * self.factor
        return z_CV if self.cap is None else self.cap * torch.tanh(z_CV / self.cap)

    def back(self, slope_CV: Tensor, logits_CV: Tensor) -> Tensor:
        """∂L/∂raw from ∂L/∂logits, which it overwrites: tanh' = 1 − tanh²."""
        if self.cap is not None:
            slope_CV.mul_(1 - (logits_CV / self.cap) ** 2)
        return slope_CV if self.factor == 1.0 else slope_CV.mul_(self.factor)


def finish_of(config: PretrainedConfig) -> Finish:
    config = config.get_text_config()
    scale, divisor = getattr(config, "logit_scale", None), getattr(config, "logits_scaling", None)
    factor = (1.0 if scale is None else float(scale)) / (1.0 if divisor is None else float(divisor))
    caps = (getattr(config, name, None) for name in ("final_logit_softcapping", "logits_soft_cap"))
    return Finish(factor, next((cap for cap in caps if cap is not None), None))


@dataclass(frozen=True)
class LMHead:
    """A head that is nothing but raw = W h + b and its finish."""

    weight_VD: Tensor
    bias_V: Tensor | None
    finish: Finish

    def cast(self, dtype: torch.dtype) -> LMHead:
        """The same in the arithmetic of a pass, outside of any graph."""
        bias_V = None if self.bias_V is None else self.bias_V.detach().to(dtype)
        return replace(self, weight_VD=self.weight_VD.detach().to(dtype), bias_V=bias_V)

    def raw(self, hidden_CD: Tensor, into_CV: Tensor) -> Tensor:
        """W h + b, written over `into_CV`, so that the room is taken once a pass."""
        torch.mm(hidden_CD.to(self.weight_VD.dtype), self.weight_VD.t(), out=into_CV)
        return into_CV if self.bias_V is None else into_CV.add_(self.bias_V)


def readout_of(model: PreTrainedModel) -> LMHead:
    """The read-out of a model whose head isn't wrapped."""
    head = model.get_output_embeddings()
    return LMHead(head.weight, head.bias, finish_of(model.config))


def wrapped(model: PreTrainedModel) -> str | None:
    """How a head is more than its matrix and bias, in words; None where it isn't."""
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear:
        return f"is a {type(head).__name__}"
    if "forward" in vars(head):
        return "has a forward pass of its own"
    if any(getattr(head, hooks) for hooks in HOOKS):
        return "carries hooks"
    if type(head.weight) not in (nn.Parameter, Tensor) or not head.weight.is_floating_point():
        return f"holds its weight as a {type(head.weight).__name__} of {head.weight.dtype}"
    return None
