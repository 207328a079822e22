"""The dual variable of a constraint: how strongly what must be kept is pulled for."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp

MOST_SHORT = 1.0  # a shortfall counts at most as so many times the loss that is allowed: no more than what is left over
LEAST_ALLOWED = 0.005  # the loss that a floor of 1 allows, so that errors have a unit


@dataclass
class Dual:
    """The multiplier λ of  max gain  subject to  retention ≥ floor: a level that is learnt, and an answer at once.

        μ ← clip(μ · exp(η s e), least, most),   s the share of the run since the look before
        λ = clip(μ · exp(κ e), least, most)
        e = (floor − high) / (1 − floor), at most 1     where even the upper bound of what is left is below the floor
        e = (floor − retention) / (1 − floor)           where what is likely to be left is above it
        e = 0                                           where neither: a few items can't tell
        loss = (L_gain + λ · L_keep) / (1 + λ)

    The error is counted in units of the loss that is allowed, and time in runs, so that one `rate` η and one
    `answer` κ serve every floor, however often it is looked at: along a run the level moves e^η-fold at most. What
    is answered at once is taken back at once: a dip while the learning rate is high doesn't weigh on the rest of
    the run, as it does in the level. Dividing by 1 + λ keeps the size of the loss. λ is bounded: optimisers that
    scale each entry of the gradient to one size, as Adam does, take the step of the gain however small its share,
    and a share far below the noise of the rest is noise.

    Source: the method of multipliers with multiplicative updates, Arora, Hazan and Kale 2012 (Theory of Computing
    8, 121-164), section 3; a multiplier that is proportional and integral to the shortfall, Stooke et al. 2020
    (arXiv 2007.03964), PID Lagrangian methods, here in logarithms.
    """

    floor: float
    rate: float = 2.4
    answer: float = 0.7
    least: float = 0.1
    most: float = 100.0
    strength: float = 20.0  # λ
    level: float = field(init=False)  # μ

    def __post_init__(self) -> None:
        self.level = self.strength

    def follow(self, retention: float, high: float | None = None, share: float = 1.0) -> float:
        """Moves λ after a look that found `retention` in [0, 1], surely at most `high`, and returns it. `share` is how
        much of the run has gone by since the look before."""
        over, short = self.floor - retention, self.floor - (retention if high is None else high)
        error = (short if short > 0 else min(over, 0.0)) / max(1.0 - self.floor, LEAST_ALLOWED)
        error = min(error, MOST_SHORT)
        self.level = self.bounded(self.level * exp(self.rate * share * error))
        self.strength = self.bounded(self.level * exp(self.answer * error))
        return self.strength

    def bounded(self, strength: float) -> float:
        return min(max(strength, self.least), self.most)

    @property
    def gain(self) -> float:
        """The factor of every loss that is not steered: 1 / (1 + λ)."""
        return 1.0 / (1.0 + self.strength)

    @property
    def pull(self) -> float:
        """The factor of what is steered: λ / (1 + λ)."""
        return self.strength / (1.0 + self.strength)
