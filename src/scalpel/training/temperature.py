"""A controller of the sampling temperature that keeps the entropy of samples near a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scalpel.engine import Sample

COLDEST, HOTTEST = 0.05, 5.0


@dataclass
class TemperatureController:
    """Keeps the mean entropy of the sampling distributions near `target`, in nats per token.

        log τ ← log τ + pace · clamp(1 − H / target, −1, 1)   after each batch, H its mean entropy at temperature τ

    Source: Liu et al. 2025 (arXiv 2506.13284) choose one temperature per run by that criterion; here it is controlled
    during the run.
    """

    target: float
    pace: float
    temperature: float
    entropy: float = 0.0  # of the samples since it was last set, summed over their tokens
    tokens: int = 0

    def note(self, samples: Sequence[Sequence[Sample]]) -> None:
        for group in samples:
            for sample in group:
                self.entropy, self.tokens = self.entropy + sample.entropy, self.tokens + len(sample.ids)

    def settle(self) -> dict[str, float]:
        """Updates the temperature for the next batch, and returns metrics of the present one; empty without samples."""
        if not self.tokens:
            return {}
        entropy, temperature = self.entropy / self.tokens, self.temperature
        shift = self.pace * min(max(1 - entropy / self.target, -1.0), 1.0)
        self.temperature = min(max(temperature * exp(shift), COLDEST), HOTTEST)
        self.entropy, self.tokens = 0.0, 0
        return {"sampling/entropy": entropy, "sampling/temperature": temperature}
