"""A claim: a folder with `claim.toml` (what a paper says, what must be seen here) and `recipe.toml` (the experiment).

    title = "…"                      in one sentence
    paper = "…"                      authors, year, identifier
    says = "…"                       what the paper says
    expect = "…"                     what we expect at this scale, and why

    [[given]]                        without these nothing can be said: not testable here
    [[tests]]                        all of them hold: replicates; one fails: doesn't
    [[besides]]                      reported, decides nothing

Each of these is a comparison of two numbers of arms, or of one with a constant:

    says = "SFT forgets more than GRPO"
    that = { what = "forgetting", arm = "sft" }
    exceeds = { arm = "grpo" }       keys that are left out are those of `that`
    by = 0.05                        or: equals = …, within = 0.05

A number may be a difference: { what = "gain", arm = "sft-then-rl", less = { arm = "sft" } }, where keys that `less`
leaves out are those of the number that it is taken from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

import scalpel.claims.quantities  # noqa: F401  (registers the quantities)
from scalpel.binding.bind import Key
from scalpel.binding.table import bind_table
from scalpel.config.recipe import (
    Recipe,
    Strict,
    parse,
    toml,
    validated,
)
from scalpel.registry import unknown

PICKS = {  # which arm, in which seeds
    "arm": Key(str, ""), "best": Key(list[str], []), "chosen_on": Key(list[int], []), "seeds": Key(list[int], []),
}  # fmt: skip
PARTS = ("given", "tests", "besides")


@dataclass(frozen=True)
class Number:
    """A quantity of one arm, in some of its seeds. With `best` the arm is the one of these in which the same quantity
    is the greatest on the seeds `chosen_on`. `less` is what is taken from it."""

    what: str
    arm: str = ""
    best: tuple[str, ...] = ()
    chosen_on: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    keys: Mapping[str, Any] = field(default_factory=dict)
    less: Number | None = None

    @property
    def arms(self) -> tuple[str, ...]:
        return self.best or (self.arm,)


class Check(Strict):
    """`that` exceeds another number by so much, or equals it within so much."""

    says: str
    that: dict[str, Any]
    exceeds: dict[str, Any] | float | None = None
    equals: dict[str, Any] | float | None = None
    by: float = 0.0
    within: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def one_way(self) -> Check:
        if (self.exceeds is None) == (self.equals is None):
            raise ValueError("a test says either what `that` exceeds or what it equals: give one of the two")
        if self.equals is not None and self.within is None:
            raise ValueError("nothing equals exactly: say `within` how much")
        if (self.by and self.exceeds is None) or (self.within is not None and self.equals is None):
            raise ValueError("`by` belongs to `exceeds`, `within` to `equals`")
        return self

    @property
    def numbers(self) -> tuple[Number, Number | float]:
        """Both sides."""
        other = self.exceeds if self.exceeds is not None else self.equals
        assert other is not None, "validated above"
        if not isinstance(other, dict):
            return number(self.that), float(other)
        return number(self.that), number(filled(other, self.that))


class Statement(Strict):
    """What stands in claim.toml."""

    title: str
    paper: str
    says: str
    expect: str
    confidence: float = Field(0.95, gt=0.5, lt=1)
    given: list[Check] = []
    tests: list[Check] = Field(min_length=1)
    besides: list[Check] = []


@dataclass(frozen=True)
class Claim:
    """One folder, read. The digest is that of what stands in its two files, comments and layout aside."""

    id: str
    folder: Path
    statement: Statement
    recipe: Recipe
    digest: str
    overrides: tuple[str, ...] = ()

    def checks(self) -> list[tuple[str, Check]]:
        """All comparisons, each with the part it plays."""
        return [(part, check) for part in PARTS for check in getattr(self.statement, part)]


def filled(table: Mapping[str, Any], under: Mapping[str, Any]) -> dict[str, Any]:
    """A number's table; keys that it leaves out are those of `under`, unless it speaks of something else."""
    if table.get("what", under.get("what")) != under.get("what"):
        return dict(table)
    chosen = ("arm", "best", "chosen_on") if "arm" in table or "best" in table else ()
    return {**{key: value for key, value in under.items() if key not in chosen}, **table}


def number(table: Mapping[str, Any]) -> Number:
    """A number from its table. ValueError for a key that nothing reads, or one that is missing."""
    found = dict(table)
    taken = found.pop("less", None)
    less = None if taken is None else number(filled(taken, found))
    if not isinstance(what := found.get("what"), str):
        raise ValueError(f"{dict(table)} does not say `what` it is a number of, as in what = 'gain'")
    bound = bind_table("quantity", what, found, named="what", common=PICKS)
    own = {key: value for key, value in bound.common.items() if key in PICKS}
    if ("arm" in own) == ("best" in own):
        raise ValueError(f"{dict(table)} needs an `arm`, or the arms of which the `best` is taken")
    if bool(own.get("best")) != bool(own.get("chosen_on")):
        raise ValueError("`best` and `chosen_on`, the seeds on which it is chosen, belong together: give both")
    lists = {key: tuple(own[key]) for key in ("best", "chosen_on", "seeds") if key in own}
    return Number(what, str(own.get("arm", "")), **lists, keys=bound.arguments, less=less)


def tables(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ValueError(f"there is no {path}: a claim is a folder with claim.toml and recipe.toml")
    return toml(path, "claim")


def read(name: str, claims: Path = Path("claims"), overrides: Sequence[str] = ()) -> Claim:
    """The claim of that name in the folder of claims. Raises ValueError that says what is wrong with its files."""
    folder = claims / name
    if not folder.is_dir() or not name:
        raise ValueError(unknown("claim", name, names(claims)))
    said, raw = tables(folder / "claim.toml"), tables(folder / "recipe.toml")
    try:
        statement = validated(Statement, said)
    except ValueError as error:
        raise ValueError(f"{folder / 'claim.toml'}: {error}") from None
    try:
        recipe = parse(raw, overrides, name=name)
    except ValueError as error:
        raise ValueError(f"{folder / 'recipe.toml'}: {error}") from None
    made = Claim(name, folder, statement, recipe, digest(said, raw), tuple(overrides))
    fits(made)
    return made


def digest(*found: Mapping[str, Any]) -> str:
    return sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()[:16]


def names(claims: Path) -> list[str]:
    """The claims of a folder, by name."""
    if not claims.is_dir():
        raise ValueError(
            f"there is no folder {claims}: claims are in the folder `claims` of scalpel's source; go there, or say "
            "where with --claims"
        )
    return sorted(path.parent.name for path in claims.glob("*/claim.toml"))


def every(claims: Path = Path("claims")) -> list[Claim]:
    return [read(name, claims) for name in names(claims)]


def fits(claim: Claim) -> None:
    """Refuses a test that speaks of an arm, a seed or a probe that the recipe has not."""
    spec = claim.recipe.compare
    if spec is None or not spec.arms:
        raise ValueError(f"{claim.folder / 'recipe.toml'} compares nothing: add [[compare.arms]]")
    arms = [str(table.get("name") or table.get("method")) for table in spec.arms]
    probes = [str(probe.get("name")) for probe in claim.recipe.measure.probes]
    for part, check in claim.checks():
        where = f"{claim.folder / 'claim.toml'}, [[{part}]] {check.says!r}"
        try:
            for side in check.numbers:
                if isinstance(side, Number):
                    known(side, arms, probes, spec.seeds)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None


def known(side: Number, arms: Sequence[str], probes: Sequence[str], seeds: Sequence[int]) -> None:
    if side.less:
        known(side.less, arms, probes, seeds)
    for arm in side.arms:
        if arm not in arms:
            raise ValueError(unknown("arm", arm, arms))
    for key in ("probe", "far"):
        if side.keys.get(key, "") not in ("", *probes):
            raise ValueError(unknown("probe", str(side.keys[key]), probes))
    for seed in (*side.seeds, *side.chosen_on):
        if seed not in seeds:
            raise ValueError(f"seed {seed} is none of the recipe's: {', '.join(map(str, seeds))}")
