"""A claim: a folder with `claim.toml` (what a paper says, what must be seen here; statement.py) and `recipe.toml` (the
experiment), and `result.json` once it has been run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from scalpel.claims.number import refuse_unknown
from scalpel.claims.statement import Statement
from scalpel.config.recipe import Recipe, parse, toml, validated
from scalpel.registry import unknown

PROSE = {"title", "paper", "says", "expect", "group", "regime", "out_of_regime", "because"}  # decide nothing
SEEDS = {"seeds", "tuning_seed"}  # of a recipe's [compare]: a claim has its own
UNSEEN = {"name", "threads", "track"}  # of a recipe: change no run of a claim
FREE = {"workers", "price", "limit"}  # of [compare]: change no run of a claim


@dataclass(frozen=True)
class Claim:
    """One folder, read. `digest` is that of all that decides the result, `runs` that of what its runs depend on; both
    are without the number of seeds, so that further seeds extend a result."""

    id: str
    folder: Path
    statement: Statement
    recipe: Recipe
    digest: str
    runs: str
    overrides: tuple[str, ...] = ()


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
    settings = (settings_of(raw), list(overrides), statement.pilot.model_dump(exclude_defaults=True))
    runs = digest(*settings, statement.sampling.items)
    made = Claim(
        name,
        folder,
        statement,
        recipe,
        digest(runs, deciding(statement), statement.sampling.block),
        runs,
        tuple(overrides),
    )
    refuse_unfit(made)
    return made


def tables(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ValueError(f"there is no {path}: a claim is a folder with claim.toml and recipe.toml")
    return toml(path, "claim")


def settings_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Digest input of the runs: the recipe as written, so that a key which a later version adds, with its default,
    leaves the digest as it is."""
    compared = {key: value for key, value in raw.get("compare", {}).items() if key not in FREE}
    return {**{key: value for key, value in raw.items() if key not in UNSEEN}, "compare": compared}


def deciding(statement: Statement) -> list[dict[str, Any]]:
    """Digest input of the verdict: every comparison, without prose."""
    return [
        {"table": table, **{k: v for k, v in one.model_dump(exclude_defaults=True).items() if k not in PROSE}}
        for table, one in statement.contrasts()
    ]


def digest(*found: Any) -> str:
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


def refuse_unfit(claim: Claim) -> None:
    """Refuses a comparison of an arm or a probe that the recipe has not, and a recipe that has seeds of its own."""
    spec = claim.recipe.compare
    if spec is None or not spec.arms:
        raise ValueError(f"{claim.folder / 'recipe.toml'} compares nothing: add [[compare.arms]]")
    if own := sorted(spec.model_fields_set & SEEDS):
        raise ValueError(
            f"{claim.folder / 'recipe.toml'}: compare.{own[0]} isn't read in a claim, whose seeds are 1, 2, … and "
            "those of [pilot] in claim.toml: remove the key"
        )
    refuse_uneven_grids(claim, spec.arms, spec.learning_rates)
    arms = [str(table.get("name") or table.get("method")) for table in spec.arms]
    probes = [str(probe.get("name")) for probe in claim.recipe.measure.probes]
    for table, one in claim.statement.contrasts():
        try:
            for side in one.numbers:
                refuse_unknown(side, arms, probes)
        except ValueError as error:
            raise ValueError(f"{claim.folder / 'claim.toml'}, {table} {one.says!r}: {error}") from None


def refuse_uneven_grids(claim: Claim, arms: Sequence[Mapping[str, Any]], shared: Sequence[float]) -> None:
    """All arms have as many trials: one with more would be better tuned. Raises ValueError where they haven't."""
    sizes = {str(arm.get("name") or arm.get("method")): len(arm.get("learning_rates", shared)) or 1 for arm in arms}
    gridded = bool(shared) or any("learning_rates" in arm for arm in arms)
    if gridded and claim.statement.pilot.grid:
        raise ValueError(
            f"{claim.folder}: the grid of learning rates is said twice, in [pilot] of claim.toml and in [compare] of "
            "recipe.toml: keep one"
        )
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(
            f"{claim.folder / 'recipe.toml'}: arms have unequal numbers of learning rates to try ({found}), which "
            "favours the one with more: give all of them as many, or a grid in [pilot] of claim.toml"
        )
