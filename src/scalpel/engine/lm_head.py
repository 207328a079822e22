"""The LM head: from hidden states to logits by a matrix, with an optional bias, factor and soft cap."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Finish:
    """What an architecture computes after the matrix: logits = cap·tanh(z/cap), z = factor·raw; without a cap, z."""

    factor: float = 1.0
    cap: float | None = None

    def logits(self, raw_CV: Tensor) -> Tensor:
        """Logits in float32, whatever the dtype of the raw ones: log-softmax over a vocabulary needs the precision."""
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
    """A head that is exactly raw = W h + b and its finish, without adapters or hooks."""

    weight_VD: Tensor
    bias_V: Tensor | None
    finish: Finish

    def cast(self, dtype: torch.dtype) -> LMHead:
        """The same head in the dtype of a pass, detached from autograd."""
        bias_V = None if self.bias_V is None else self.bias_V.detach().to(dtype)
        return replace(self, weight_VD=self.weight_VD.detach().to(dtype), bias_V=bias_V)

    def raw(self, hidden_CD: Tensor, into_CV: Tensor) -> Tensor:
        """W h + b, written into `into_CV`, so that memory is allocated once per pass."""
        torch.mm(hidden_CD.to(self.weight_VD.dtype), self.weight_VD.t(), out=into_CV)
        return into_CV if self.bias_V is None else into_CV.add_(self.bias_V)


def readout_of(model: PreTrainedModel) -> LMHead:
    """The head of a model whose head module isn't wrapped."""
    head = model.get_output_embeddings()
    return LMHead(head.weight, head.bias, finish_of(model.config))


def wrapped(model: PreTrainedModel) -> str | None:
    """Why a head is more than its matrix and bias, such as an adapter or a hook; None if it isn't."""
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
