"""The tables of claim.toml.

    title = "…"                      in one sentence
    paper = "…"                      authors, year, identifier
    says = "…"                       what the paper says
    expect = "…"                     what we expect at this scale, and why
    group = "forgetting"             the question under which the page lists it
    regime = "…"                     the conditions under which the paper makes its claim
    out_of_regime = "…"              optional: why this world can't offer these conditions; then nothing is run

    [[regime_checks]]                on pilot seeds before, on test seeds after
    that = { what = "before", probe = "solved", arm = "grpo" }
    equals = 0.4
    within = 0.2

    [primary]                        the one comparison that decides
    that = { what = "forgetting", arm = "sft" }
    exceeds = { arm = "grpo" }       keys that are left out are those of `that`; or: equals = …
    matters = 0.05                   δ, the smallest difference that matters
    because = "…"                    where δ is from
    paper = "…"                      the paper's number

    [[parts]]                        further comparisons, each with its own `matters`; they decide nothing

    [pilot]
    seeds = [1000, 1001]
    grid = [0.3, 1, 3]               multiples of each arm's learning rate; unless said, the grids of the recipe

    [sampling]
    looks = [4, 8, 16, 32]           numbers of seeds at which the comparisons are judged: seeds 1, 2, …
    alpha = [0.005, 0.01, 0.015, 0.02]
    items = "fresh"                  each seed has items of its own, which its arms share; or "shared"
    block = 4                        optional: so many seeds together give one number, for `tuned` (number.py)

A difference counts from `by`, where that is given: `exceeds = { arm = "sft" }, by = -0.05` says "no worse by 5 points".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from scalpel.binding.bounds import Seed
from scalpel.claims.number import Number, filled, number
from scalpel.config.recipe import Strict

Group = Literal[
    "forgetting", "amplification", "hybrids", "credit", "shaping", "data", "scopes", "repair", "decoding"
]  # fmt: skip
Text = Annotated[str, Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
ERROR = 0.05  # of any decision at any look


class Contrast(Strict):
    """`that` exceeds another number, or equals it."""

    says: str = ""
    that: dict[str, Any]
    exceeds: dict[str, Any] | float | None = None
    equals: dict[str, Any] | float | None = None
    by: float = 0.0

    @model_validator(mode="after")
    def one_way(self) -> Contrast:
        if (self.exceeds is None) == (self.equals is None):
            raise ValueError("a comparison says either what `that` exceeds or what it equals: give one of the two")
        if self.by and self.exceeds is None:
            raise ValueError("`by` belongs to `exceeds`: how much `that` differs at least, or may be less if negative")
        return self

    @property
    def sides(self) -> tuple[Number, Number | float]:
        """Both numbers."""
        other = self.exceeds if self.exceeds is not None else self.equals
        assert other is not None, "validated above"
        if not isinstance(other, dict):
            return number(self.that), float(other)
        return number(self.that), number(filled(other, self.that))

    @property
    def numbers(self) -> list[Number]:
        return [side for side in self.sides if isinstance(side, Number)]


class Comparison(Contrast):
    """A comparison with δ, the smallest difference that matters. What should be equal agrees where any difference is
    shown to be smaller than δ."""

    matters: Positive
    because: str = ""


class Primary(Comparison):
    because: Text
    paper: Text


class RegimeCheck(Contrast):
    """A condition of the claim: the mean over seeds decides, since it describes the setting and is no finding."""

    within: Positive | None = None

    @model_validator(mode="after")
    def says_how_near(self) -> RegimeCheck:
        if (self.within is None) != (self.equals is None):
            raise ValueError("`equals` and `within`, how far off it may be, belong together: give both or neither")
        return self


class Pilot(Strict):
    seeds: Annotated[list[Seed], Field(min_length=1)] = [1000, 1001]
    grid: list[Positive] = []


class Sampling(Strict):
    looks: Annotated[list[Annotated[int, Field(ge=2, le=1000)]], Field(min_length=1)] = [4, 8, 16, 32]
    alpha: list[Positive] = [0.005, 0.01, 0.015, 0.02]
    items: Literal["fresh", "shared"] = "fresh"
    block: Annotated[int, Field(ge=1, le=100)] = 1

    @model_validator(mode="after")
    def spends_the_error_once(self) -> Sampling:
        if sorted(set(self.looks)) != self.looks:
            raise ValueError(f"looks are numbers of seeds that grow, but they are {self.looks}")
        if uneven := [look for look in self.looks if look % self.block or look < 2 * self.block]:
            raise ValueError(f"look {uneven[0]} isn't a multiple of block = {self.block}, from twice the block on")
        if len(self.alpha) != len(self.looks):
            raise ValueError(f"{len(self.looks)} looks need {len(self.looks)} values of alpha, not {len(self.alpha)}")
        if sum(self.alpha) > ERROR + 1e-9:
            raise ValueError(f"alpha adds up to {sum(self.alpha):g}, but all looks together may err in {ERROR:g}")
        return self


class Statement(Strict):
    """What stands in claim.toml."""

    title: Text
    paper: Text
    says: Text
    expect: Text
    group: Group
    regime: Text
    out_of_regime: str = ""
    regime_checks: list[RegimeCheck] = []
    primary: Primary
    parts: list[Comparison] = []
    pilot: Pilot = Pilot()
    sampling: Sampling = Sampling()

    @model_validator(mode="after")
    def seeds_are_apart(self) -> Statement:
        if both := [seed for seed in self.pilot.seeds if 1 <= seed <= self.sampling.looks[-1]]:
            raise ValueError(f"pilot seed {both[0]} is a test seed, too: test seeds are 1 to {self.sampling.looks[-1]}")
        return self

    @model_validator(mode="after")
    def blocks_hold_tuning_and_other_seeds(self) -> Statement:
        for table, one in self.contrasts():
            tuned = [term for side in one.numbers for term in side.terms() if term.tuned]
            if tuned and table == "regime_checks":
                raise ValueError("a regime check can't have a `tuned` number, since pilot seeds are no block")
            if short := [term for term in tuned if not 1 <= term.tuned_on < self.sampling.block]:
                raise ValueError(
                    f"tuned_on = {short[0].tuned_on} with block = {self.sampling.block}: a block needs tuning seeds "
                    "and others, so set sampling.block to more than tuned_on"
                )
        return self

    def contrasts(self) -> list[tuple[str, Contrast]]:
        """All comparisons, each with the table that it stands in."""
        tables: dict[str, list[Any]] = {
            "primary": [self.primary], "parts": list(self.parts), "regime_checks": list(self.regime_checks)
        }  # fmt: skip
        return [(table, one) for table, found in tables.items() for one in found]
