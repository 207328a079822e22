"""The dual variable of a constraint: how strongly what must be kept is pulled for."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

MOST_SHORT = 4.0  # a shortfall counts at most as so many times the loss that is allowed
LEAST_ALLOWED = 0.005  # the loss that a floor of 1 allows, so that errors have a unit


@dataclass
class Dual:
    """The multiplier λ of  max gain  subject to  retention ≥ floor,  moved by exponentiated gradient ascent.

        λ ← clip(λ · exp(η e), least, most)         e = clip((floor − retention) / (1 − floor), −1, 4)
        loss = (L_gain + λ · L_keep) / (1 + λ)

    The error is counted in units of the loss that is allowed, so that one `rate` η serves every floor. Dividing by
    1 + λ keeps the size of the step: a λ without bound is a step that only repairs.

    Source: the method of multipliers with multiplicative updates, Arora, Hazan and Kale 2012 (Theory of Computing
    8, 121-164), section 3; Lagrangians with retention as constraint as in safe reinforcement learning, Stooke et
    al. 2020 (arXiv 2007.03964).
    """

    floor: float
    rate: float = 0.5
    least: float = 0.01
    most: float = 1000.0
    strength: float = 1.0

    def follow(self, retention: float) -> float:
        """Moves λ after a look that found `retention` in [0, 1], and returns it."""
        error = (self.floor - retention) / max(1.0 - self.floor, LEAST_ALLOWED)
        grown = self.strength * exp(self.rate * min(max(error, -1.0), MOST_SHORT))
        self.strength = min(max(grown, self.least), self.most)
        return self.strength

    @property
    def gain(self) -> float:
        """The factor of every loss that is not steered: 1 / (1 + λ)."""
        return 1.0 / (1.0 + self.strength)

    @property
    def pull(self) -> float:
        """The factor of what is steered: λ / (1 + λ)."""
        return self.strength / (1.0 + self.strength)
