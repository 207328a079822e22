"""Numbers per token from rows of logits, and their slopes ∂L/∂logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from scalpel.part import HeadTerm, Need
from scalpel.registry import AXES, lookup


@dataclass
class Block:
    """Some rows of finished logits in float32, what they are to predict, and other models' logits by role. Log-probs
    and entropies are those of logits / temperature, where one is given; head terms are those of the logits."""

    logits_BV: Tensor
    target_B: Tensor
    beside: Mapping[str, Tensor]
    temperature_B: Tensor | None = None

    @cached_property
    def logp_BV(self) -> Tensor:
        if self.temperature_B is None:
            return self.logits_BV.log_softmax(-1)
        return (self.logits_BV / self.temperature_B[:, None]).log_softmax(-1)

    def number(self, need: Need) -> Tensor:
        """One requested number per token."""
        if isinstance(need, HeadTerm):
            return self.asked("term", need)
        if need == "argmax":
            return self.logits_BV.argmax(-1)
        if need == "logp":
            return self.logp_BV.gather(1, self.target_B[:, None])[:, 0]
        assert need == "entropy", need
        return -(self.logp_BV.exp() * self.logp_BV).sum(-1)

    def slope(self, given: Mapping[Need, Tensor]) -> Tensor:
        """∂L/∂logits from ∂L/∂number of each need:

        log p_t: 1[v = t] − p_v      entropy H: −p_v (log p_v + H)      terms: what is registered beside them

        the first two over the temperature
        """
        p_BV = self.logp_BV.exp()
        if "entropy" in given:
            slope_BV = self.logp_BV + self.number("entropy")[:, None]
            slope_BV = slope_BV.mul_(-given["entropy"][:, None]).mul_(p_BV)
            if "logp" in given:
                slope_BV.sub_(p_BV.mul_(given["logp"][:, None]))
        else:
            slope_BV = p_BV.mul_(-given["logp"][:, None]) if "logp" in given else p_BV.zero_()
        if "logp" in given:
            slope_BV.scatter_add_(1, self.target_B[:, None], given["logp"][:, None])
        if self.temperature_B is not None:
            slope_BV.div_(self.temperature_B[:, None])
        for need, given_B in given.items():
            if isinstance(need, HeadTerm):
                slope_BV.add_(self.asked("slope", need).mul_(given_B[:, None]))
        return slope_BV

    def asked(self, axis: str, need: HeadTerm) -> Any:
        other_BV = self.beside[need.other] if need.other else None
        return lookup(axis, need.name)(self.logits_BV, other_BV, self.target_B, **dict(need.options))


def differentiable(need: Need) -> bool:
    """Whether its slope is known here."""
    return not isinstance(need, HeadTerm) or need.name in AXES["slope"]
