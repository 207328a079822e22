"""The dual variable of the retention constraint: the strength of the regulariser that keeps old abilities."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp

MOST_SHORT = 1.0  # bound of the error below the floor; above it, the error is at most 1, too (at retention 1)
LEAST_ALLOWED = 0.005  # the smallest allowed loss, so that a floor of 1 doesn't divide by zero


@dataclass
class Dual:
    """The multiplier λ of  max gain  subject to  retention ≥ floor: an integral part μ and a proportional part.

        μ ← clip(μ · exp(η s e), min_strength, max_strength),   s the share of the run since the last evaluation
        λ = clip(μ · exp(κ e), min_strength, max_strength)
        e = (floor − high) / (1 − floor), at most 1   if even the upper confidence bound of retention is below the floor
        e = (floor − retention) / (1 − floor)         if the estimate of retention is above the floor
        e = 0                                         otherwise: a few items can't decide
        loss = (L_gain + λ · L_keep) / (1 + λ)

    The error is in units of the allowed loss, and time in units of the run, so that one `integral_gain` η and one
    `proportional_gain` κ serve every floor, however often it is evaluated: during a run μ changes by a factor of at
    most e^η. The proportional part is taken back at the next evaluation, so that a dip while the learning
    rate is high has no lasting effect, as it has in μ. Dividing by 1 + λ keeps the scale of the loss. λ is bounded:
    optimisers that normalise each entry of the gradient, as Adam does, take a full step for the gain however small
    its weight is, and a weight far below the gradient noise of the rest leaves only noise.

    Source: the method of multipliers with multiplicative updates, Arora, Hazan and Kale 2012 (Theory of Computing
    8, 121-164), section 3; a multiplier that is proportional and integral to the shortfall, Stooke et al. 2020
    (arXiv 2007.03964), PID Lagrangian methods, here in logarithms.
    """

    floor: float
    integral_gain: float = 2.4
    proportional_gain: float = 0.7
    min_strength: float = 0.1
    max_strength: float = 100.0
    strength: float = 20.0  # λ
    level: float = field(init=False)  # μ, the integral part

    def __post_init__(self) -> None:
        self.level = self.strength

    def follow(self, retention: float, high: float | None = None, share: float = 1.0) -> float:
        """Updates λ after an evaluation, and returns it. `retention` is the estimate in [0, 1], `high` its upper
        confidence bound (the estimate itself if None), and `share` the share of the run since the last evaluation."""
        over, short = self.floor - retention, self.floor - (retention if high is None else high)
        error = (short if short > 0 else min(over, 0.0)) / max(1.0 - self.floor, LEAST_ALLOWED)
        error = min(error, MOST_SHORT)
        self.level = self.bounded(self.level * exp(self.integral_gain * share * error))
        self.strength = self.bounded(self.level * exp(self.proportional_gain * error))
        return self.strength

    def bounded(self, strength: float) -> float:
        return min(max(strength, self.min_strength), self.max_strength)

    @property
    def gain(self) -> float:
        """The factor of every loss that the floor doesn't steer: 1 / (1 + λ)."""
        return 1.0 / (1.0 + self.strength)

    @property
    def keep(self) -> float:
        """The factor of every regulariser that the floor steers: λ / (1 + λ)."""
        return self.strength / (1.0 + self.strength)
