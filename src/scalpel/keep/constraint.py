"""The floor along a run: cheap looks at the keep set, and the strength that follows them."""

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
COUNTED = ("looks", "below", "since", "seconds", "flops")
NOTED = (*COUNTED, "done")  # in checkpoints
SURE = 0.95  # the share of upper bounds that what is left doesn't exceed
ENOUGH = 8  # units that the base must get right, for an ability to be held


@dataclass
class AbilityState:
    """One ability: the items that the base gets right, how far the looks have come round, what is left."""

    name: str
    base: dict[int, list[bool]]  # item → its units, for items of which the base gets any right
    at: int = 0
    kept: float = 0.0  # of the units seen in looks, those still right; older looks count less and less
    of: float = 0.0  # all of them

    @property
    def retention(self) -> float:
        return self.kept / self.of if self.of else 1.0

    @property
    def high(self) -> float:
        """What is left at most, as far as the looks can tell."""
        return wilson(self.kept, self.of, 2 * SURE - 1).high if self.of else 1.0

    def next(self, n: int, seed: int) -> list[int]:
        """The next n items of an endless round through a seeded order."""
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
        """A look. Before the first one there were as many, in all of which everything was left: that is the base."""
        if not self.of:
            self.kept = self.of = of / memory
        self.kept += kept - memory * self.kept
        self.of += of - memory * self.of


@dataclass
class RetentionFloor:
    """Looks at a few items of every ability each `every` steps; the ability of which least is left steers.

    Looks go round the keep set, and a moving average over them (`memory` is the weight of the newest) evens out
    what a few items leave to chance. The strength grows where it is sure that the floor is broken, and falls where the
    worst ability, as far as chance allows, stands above it.
    """

    abilities: Sequence[Ability]
    dual: Dual
    every: int = 5
    items: int = 48
    memory: float = 0.3
    seed: int = 0
    standings: list[AbilityState] = field(default_factory=list)
    looks: int = 0
    below: int = 0  # looks that saw the worst ability below the floor
    since: int | None = 0  # the step from which on no look was sure of that; None if the last one was
    done: float = 0.0  # the share of the run up to the last look
    seconds: float = 0.0  # spent looking
    flops: float = 0.0

    def begin(self, base: Engine) -> None:
        """Notes what the base gets right. Raises ValueError for an ability that it has too little of."""
        for ability in self.abilities:
            flags = ability.known(base)
            right = sum(sum(units) for units in flags)
            if right < ENOUGH:
                raise ValueError(
                    f"keep set {ability.name!r}: the base gets {right} of {sum(map(len, flags))} right, too few to "
                    "hold a floor on: take easier items, more of them, or leave it out (long texts: kind = 'tokens')"
                )
            known = {i: units for i, units in enumerate(flags) if any(units)}
            self.standings.append(AbilityState(ability.name, known))

    def due(self, step: int) -> bool:
        return step % self.every == 0

    def look(self, engine: Engine, step: int, done: float) -> dict[str, float]:
        """Scores the next items after that step, at which that share of the run is done, moves the dual variable, and
        says what it saw."""
        started, spent = perf_counter(), engine.meter.flops
        for ability, standing in zip(self.abilities, self.standings, strict=True):
            chosen = standing.next(self.items, self.seed)
            standing.note(*standing.count(chosen, ability.flags(engine, chosen)), self.memory)
        high = min(standing.high for standing in self.standings)
        strength = self.dual.follow(self.likely, high, done - self.done)
        self.done = done
        self.since = None if high < self.dual.floor else step if self.since is None else self.since
        self.looks, self.below = self.looks + 1, self.below + (self.worst < self.dual.floor)
        self.seconds, self.flops = self.seconds + perf_counter() - started, self.flops + engine.meter.flops - spent
        each = {f"keep/{standing.name}": standing.retention for standing in self.standings}
        return {**each, "keep/worst": self.worst, "keep/strength": strength}

    @property
    def worst(self) -> float:
        """What is left of the ability of which least is left."""
        return min(standing.retention for standing in self.standings)

    @property
    def likely(self) -> float:
        """What is left of the worst ability, without what chance takes from the least of many estimates.

            min_k (r_k + z_n σ_k),   z_n = Φ⁻¹((n − 0.375) / (n + 0.25)),   σ_k that of a share at the floor

        Were all abilities at the floor, the least of n estimates would lie z_n σ below it.

        Source   Blom 1958, Statistical Estimates and Transformed Beta-Variables: the expected greatest of n normals.
        """
        n, floor = len(self.standings), self.dual.floor
        far = NormalDist().inv_cdf((n - 0.375) / (n + 0.25)) * sqrt(floor * (1 - floor))
        looks = 2 - self.memory  # (Σ w)² / Σ w² looks of weights w = (1 − memory)^k, over the Σ w that `of` counts
        return min(1.0, *(s.retention + far / sqrt(max(s.of, 1.0) * looks) for s in self.standings))

    def whole(self, engine: Engine) -> dict[str, float]:
        """What is left of each ability, on the whole keep set."""
        left = {}
        for ability, standing in zip(self.abilities, self.standings, strict=True):
            chosen = sorted(standing.base)
            kept, of = standing.count(chosen, ability.flags(engine, chosen))
            left[standing.name] = kept / of
        return left

    def account(self, engine: Engine) -> dict[str, Any]:
        """Whether the floor holds at the end, on the whole keep set; how often it didn't; what looking cost."""
        left = self.whole(engine)
        return {
            "floor": self.dual.floor,
            "held": min(left.values()) >= self.dual.floor,
            "left": left,
            "units": {s.name: sum(map(sum, s.base.values())) for s in self.standings},
            "strength": self.dual.strength,
            **{key: getattr(self, key) for key in COUNTED},
        }

    # --- checkpoints ------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        noted = {key: getattr(self, key) for key in NOTED}
        return {
            "strength": self.dual.strength,
            "level": self.dual.level,
            "standings": [vars(s) for s in self.standings],
            **noted,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.dual.strength, self.dual.level = saved["strength"], saved["level"]
        vars(self).update({key: saved[key] for key in NOTED})
        self.standings = [
            AbilityState(**{**s, "base": {int(i): list(units) for i, units in s["base"].items()}})
            for s in saved["standings"]
        ]
