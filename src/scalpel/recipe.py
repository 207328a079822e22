"""A recipe: one TOML file, one experiment. Parse, refuse, override, write back.

Unknown keys are refused with the nearest known one. A stage that names a `method` starts from that row of the
table (methods/); every key that the user sets goes over it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from scalpel.methods import FLOOR
from scalpel.overlay import merge, over_row
from scalpel.schema import (
    BudgetSpec,
    CompareSpec,
    KeepSpec,
    ModelSpec,
    PartSpec,
    Recipe,
    SignalSpec,
    StageSpec,
    Strict,
    ValidateSpec,
)

__all__ = [
    "BudgetSpec",
    "CompareSpec",
    "ModelSpec",
    "PartSpec",
    "Recipe",
    "SignalSpec",
    "StageSpec",
    "Strict",
    "ValidateSpec",
    "parse",
    "put",
    "read",
    "validated",
    "write",
]
SHORT = {"model": "path", "source": "name", "objective": "name", "scope": "name"}  # tables that a text stands for


def read(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe file, with `a.b=c` overrides. Raises ValueError that names what is wrong and the mend."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no recipe at {path}: give the path of a TOML file, such as recipes/first.toml")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None
    return parse(raw, overrides, name=path.stem)


def parse(raw: Mapping[str, Any], overrides: Sequence[str] = (), name: str = "run") -> Recipe:
    """A recipe from plain tables. `[train]` is short for a single stage."""
    tables: dict[str, Any] = {"name": name, **deepcopy(dict(raw))}
    for override in overrides:
        put(tables, override)
    if "train" in tables:
        if "stages" in tables:
            raise ValueError("a recipe has either one [train] or a list of [[stages]], not both")
        tables["stages"] = [tables.pop("train")]
        place = "train"
    else:
        place = "stages.0"
    shared = tables.get("keep")
    stages = [made for stage in tables.get("stages", []) for made in over_row(stage)]
    named = "reference" in tables.get("models", {})
    tables["stages"] = [with_floor(stage, shared, named) for stage in stages]
    try:
        return validated(Recipe, tables)
    except ValueError as error:
        raise ValueError(str(error).replace("stages.0", place)) from None


def with_floor(stage: dict[str, Any], shared: Mapping[str, Any] | None, named: bool) -> dict[str, Any]:
    """The stage with the recipe's `keep` under its own; a floor that steers nothing gets text of the base's own.
    `named`: the recipe names a reference for all stages."""
    if shared is None and "keep" not in stage:
        return stage
    keep = merge(shared or {}, stage.get("keep", {}))
    stage = {**stage, "keep": keep}
    if not keep.get("floor", KeepSpec().floor) or keep.get("steer"):
        return stage
    name = FLOOR["signal"]["name"]
    if any(isinstance(signal, Mapping) and signal.get("name") == name for signal in stage.get("signals", [])):
        raise ValueError(f"the floor would add a signal {name!r}, but there is one: name it in keep.steer")
    written = {key: keep[key] for key in ("documents", "max_tokens") if key in keep}
    signal = merge(FLOOR["signal"], {"source": written})
    if "batch" in keep:
        signal["batch"] = keep["batch"]
    based = not named and stage.get("reference", "base") == "base"  # then one frozen model serves both
    anchor = {**FLOOR["anchor"], "to": "reference" if based else "base"}
    more = {"signals": [*stage.get("signals", []), signal], "anchors": [*stage.get("anchors", []), anchor]}
    return {**stage, **more, "keep": {**keep, "steer": [name]}}


def put(tables: dict[str, Any], override: str) -> None:
    """Applies one `a.b=c`: c is read as a TOML value, or else as text; a number steps into a list."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ValueError(f"override {override!r} is not of the form key.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *inner, last = path.strip().split(".")
    here: Any = tables
    for key in inner:
        place: Any = index_of(here, key, override) if isinstance(here, list) else key
        inside = here[place] if isinstance(here, list) else here.setdefault(key, {})
        if isinstance(inside, str) and (isinstance(here, list) or key in SHORT):
            inside = here[place] = {SHORT.get(key, "name"): inside}
        if not isinstance(inside, dict | list):
            raise ValueError(f"override {override!r} steps into {key!r}, which is {inside!r} and no table")
        here = inside
    if isinstance(here, list):
        here[index_of(here, last, override)] = value
    else:
        here[last] = value


def index_of(items: list, key: str, override: str) -> int:
    if not key.isdigit() or int(key) >= len(items):
        raise ValueError(f"override {override!r}: {key!r} should be a number below {len(items)}")
    return int(key)


def validated(schema: type[Strict], tables: Mapping[str, Any]) -> Any:
    """Validates, and says each fault in the recipe's own terms."""
    try:
        return schema.model_validate(tables)
    except ValidationError as error:
        raise ValueError("\n".join(fault(schema, e) for e in error.errors())) from None


def fault(schema: type[BaseModel], error: Any) -> str:
    place = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        known = known_keys(schema, error["loc"][:-1])
        near = get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown key {place!r}: {hint}known here are {', '.join(sorted(known))}"
    if error["type"] == "missing":
        return f"missing key {place!r}"
    return f"{place}: {error['msg'].removeprefix('Value error, ')} (got {error['input']!r:.80})"


def known_keys(schema: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The keys that the table at this place may have."""
    here: Any = schema
    for step in place:
        if isinstance(step, int):
            continue
        found = next((f for n, f in here.model_fields.items() if step in (n, f.alias)), None)
        if found is None:
            break
        here = next(iter(nested(found.annotation)), here)
    return [f.alias or n for n, f in here.model_fields.items()]


def nested(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models inside a type such as `list[SignalSpec] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in nested(inner)]


def write(recipe: Recipe) -> str:
    """The resolved recipe as TOML, everything that is not a default of the file format spelled out."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True, by_alias=True))
