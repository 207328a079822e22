"""The retention floor during a run: cheap evaluations of the keep sets, and the dual variable that follows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from random import Random
from statistics import NormalDist
from time import perf_counter
from typing import Any

from scalpel.engine import Engine
from scalpel.evaluation.statistics import wilson
from scalpel.keep.dual import Dual
from scalpel.keep.sets import Ability

Flags = list[list[bool]]
# keys of summary.json and of checkpoints → attributes of RetentionFloor
COUNTED = {"looks": "evaluations", "below": "below", "since": "since", "seconds": "seconds", "flops": "flops"}
NOTED = {**COUNTED, "done": "progress"}  # in checkpoints
SURE = 0.95  # one-sided confidence of the upper bound of the retained share
ENOUGH = 8  # units that the base must get right; a share of fewer is too coarse for a floor


@dataclass
class AbilityState:
    """The state of one keep set: the items that the base gets right, the position in the round of evaluations, and the
    moving average of the retained share. Its fields are stored in checkpoints by these names."""

    name: str
    base: dict[int, list[bool]]  # item → which of its units the base gets right; only items with at least one
    at: int = 0  # position in the shuffled order of items
    kept: float = 0.0  # exponentially weighted number of evaluated units that are still right
    of: float = 0.0  # exponentially weighted number of evaluated units

    @property
    def retention(self) -> float:
        return self.kept / self.of if self.of else 1.0

    @property
    def high(self) -> float:
        """The upper confidence bound of the retained share."""
        return wilson(self.kept, self.of, 2 * SURE - 1).high if self.of else 1.0

    def next(self, n: int, seed: int) -> list[int]:
        """The next n items of an endless cycle through a shuffled order; without a repetition within one evaluation."""
        order = sorted(self.base)
        Random(seed).shuffle(order)
        chosen = [order[(self.at + k) % len(order)] for k in range(min(n, len(order)))]
        self.at = (self.at + len(chosen)) % len(order)
        return chosen

    def count(self, chosen: Sequence[int], now: Flags) -> tuple[int, int]:
        """Of the units that the base gets right: how many still are, and how many there are."""
        pairs = [(b, a) for i, units in zip(chosen, now, strict=True) for b, a in zip(self.base[i], units, strict=True)]
        return sum(a for b, a in pairs if b), sum(b for b, _ in pairs)

    def note(self, kept: int, of: int, memory: float) -> None:
        """Adds an evaluation to the exponentially weighted sums, in which an older one counts (1 − memory)^age."""
        # The sums start in equilibrium (of / memory) at a retention of 1, that of the base. If they started at zero,
        # the first evaluations of a few items would move the strength by chance.
        if not self.of:
            self.kept = self.of = of / memory
        self.kept += kept - memory * self.kept
        self.of += of - memory * self.of


@dataclass
class RetentionFloor:
    """Evaluates a few items of every keep set each `every` steps; the ability with the lowest retention steers.

    Evaluations cycle through the keep set, and a moving average over them (`memory` is the weight of the newest one)
    reduces the sampling noise of a few items. The strength grows where the floor is violated beyond chance, and shrinks
    where the worst ability, corrected for being the least of several estimates, is above the floor.
    """

    abilities: Sequence[Ability]
    dual: Dual
    every: int = 5
    items: int = 48
    memory: float = 0.3
    seed: int = 0
    states: list[AbilityState] = field(default_factory=list)
    evaluations: int = 0
    below: int = 0  # evaluations after which the worst ability was below the floor
    since: int | None = 0  # the step since which no evaluation found a clear violation; None if the last one did
    progress: float = 0.0  # the share of the run at the last evaluation
    seconds: float = 0.0  # spent in evaluations
    flops: float = 0.0

    def begin(self, base: Engine) -> None:
        """Records what the base gets right. Raises ValueError for a keep set of which that is too little."""
        for ability in self.abilities:
            flags = ability.known(base)
            right = sum(sum(units) for units in flags)
            if right < ENOUGH:
                raise ValueError(
                    f"keep set {ability.name!r}: the base gets {right} of {sum(map(len, flags))} right, too few for a "
                    "floor: take easier items, more of them, or leave it out (for long texts: kind = 'tokens')"
                )
            known = {i: units for i, units in enumerate(flags) if any(units)}
            self.states.append(AbilityState(ability.name, known))

    def due(self, step: int) -> bool:
        return step % self.every == 0

    def evaluate(self, engine: Engine, step: int, progress: float) -> dict[str, float]:
        """Scores the next items after a step, updates the dual variable, and returns the metrics. `progress` is the
        share of the run that is done."""
        started, spent = perf_counter(), engine.meter.flops
        for ability, state in zip(self.abilities, self.states, strict=True):
            chosen = state.next(self.items, self.seed)
            state.note(*state.count(chosen, ability.flags(engine, chosen)), self.memory)
        high = min(state.high for state in self.states)
        strength = self.dual.follow(self.likely, high, progress - self.progress)
        self.progress = progress
        self.since = None if high < self.dual.floor else step if self.since is None else self.since
        self.evaluations, self.below = self.evaluations + 1, self.below + (self.worst < self.dual.floor)
        self.seconds, self.flops = self.seconds + perf_counter() - started, self.flops + engine.meter.flops - spent
        each = {f"keep/{state.name}": state.retention for state in self.states}
        return {**each, "keep/worst": self.worst, "keep/strength": strength}

    @property
    def worst(self) -> float:
        """The retained share of the ability with the lowest one."""
        return min(state.retention for state in self.states)

    @property
    def likely(self) -> float:
        """The retained share of the worst ability, corrected for the bias of the minimum of n noisy estimates.

            min_k (r_k + z_n σ_k),   z_n = Φ⁻¹((n − 0.375) / (n + 0.25)),   σ_k the standard error of a share at the
            floor

        If all abilities were at the floor, the minimum of n estimates would be expected z_n σ below it. Without the
        correction λ would hardly ever shrink where there are many keep sets.

        Source   Blom 1958, Statistical Estimates and Transformed Beta-Variables: the expected maximum of n normals.
        """
        n, floor = len(self.states), self.dual.floor
        far = NormalDist().inv_cdf((n - 0.375) / (n + 0.25)) * sqrt(floor * (1 - floor))
        # Weights w = (1 − memory)^k are worth (Σ w)² / Σ w² = (2 − memory) / memory evaluations. `of` counts the units
        # of Σ w = 1 / memory, so the effective number of units is (2 − memory) times `of`.
        effective = 2 - self.memory
        return min(1.0, *(s.retention + far / sqrt(max(s.of, 1.0) * effective) for s in self.states))

    def whole(self, engine: Engine) -> dict[str, float]:
        """The retained share of each ability, on its whole keep set."""
        left = {}
        for ability, state in zip(self.abilities, self.states, strict=True):
            chosen = sorted(state.base)
            kept, of = state.count(chosen, ability.flags(engine, chosen))
            left[state.name] = kept / of
        return left

    def account(self, engine: Engine) -> dict[str, Any]:
        """The entry of summary.json: whether the floor holds at the end on the whole keep sets, how often it was
        violated during the run, and the cost of the evaluations. The least of several noisy shares decides, so "held"
        errs on the strict side."""
        left = self.whole(engine)
        return {
            "floor": self.dual.floor,
            "held": min(left.values()) >= self.dual.floor,
            "left": left,
            "units": {s.name: sum(map(sum, s.base.values())) for s in self.states},
            "strength": self.dual.strength,
            **{key: getattr(self, name) for key, name in COUNTED.items()},
        }

    # --- checkpoints ------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        noted = {key: getattr(self, name) for key, name in NOTED.items()}
        return {
            "strength": self.dual.strength,
            "level": self.dual.level,
            "standings": [vars(s) for s in self.states],
            **noted,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.dual.strength, self.dual.level = saved["strength"], saved["level"]
        vars(self).update({name: saved[key] for key, name in NOTED.items()})
        self.states = [
            AbilityState(**{**s, "base": {int(i): list(units) for i, units in s["base"].items()}})
            for s in saved["standings"]
        ]
