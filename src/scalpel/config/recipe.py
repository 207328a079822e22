"""A recipe: one TOML file, one experiment. Parsing, validation, overrides, and writing of the resolved recipe.

An unknown key raises an error with the nearest known one. A stage that names a `method` starts from that row of the
table of methods (methods/), and every key that the user sets overrides the row.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from scalpel.binding.plain import shown, toml_value
from scalpel.config.faults import validated
from scalpel.config.merge import merge, over_row
from scalpel.config.override import put
from scalpel.config.renamed import renamed
from scalpel.config.row_shares import share_out
from scalpel.config.schema import (
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
from scalpel.extensions import load_plugins
from scalpel.methods import FLOOR

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
    "toml",
    "validated",
    "write",
]


def read(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe file, with `a.b=c` overrides. A ValueError says what is wrong and how to correct it."""
    path = Path(path)
    return parse(toml(path), overrides, name=path.stem)


def toml(path: Path, what: str = "recipe") -> dict[str, Any]:
    """The tables of a TOML file. Raises a ValueError with the path if it can't be read."""
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "doesn't exist"
        raise ValueError(f"no {what} at {path}, which {kind}: give the path of a TOML file, such as recipes/first.toml")
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 at byte {error.start + 1}: save the file as UTF-8") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply to be a {what}") from None
    except ValueError as error:  # invalid TOML, or an integer of thousands of digits
        raise ValueError(f"{path} is not valid TOML: {error}") from None


def parse(raw: Mapping[str, Any], overrides: Sequence[str] = (), name: str = "run") -> Recipe:
    """A recipe from plain tables. `[train]` is short for a single stage."""
    load_plugins()  # they may register methods
    tables: dict[str, Any] = {"name": name, **toml_value(table_at("the recipe", raw))}
    for override in overrides:
        put(tables, override)
    tables = renamed(toml_value(tables))
    if "train" in tables:
        if "stages" in tables:
            raise ValueError("a recipe has either one [train] table or a list of [[stages]], not both: remove one")
        tables["stages"] = [table_at("train", tables.pop("train"))]
        place = "train"
    else:
        place = "stages.0"
    for key in ("keep", "models"):
        table_at(key, tables.get(key, {}))
    if not isinstance(tables.get("stages", []), list):
        raise ValueError(f"stages is {shown(tables['stages'])}, but must be a list of tables: write [[stages]]")
    for k, stage in enumerate(tables.get("stages", [])):
        table_at(f"stages.{k}", stage)
        table_at(f"{place if k == 0 else f'stages.{k}'}.keep", stage.get("keep", {}))
    shared = tables.get("keep")
    stages = [made for stage in tables.get("stages", []) for made in over_row(stage)]
    named = "reference" in tables.get("models", {})
    tables["stages"] = [
        with_floor(stage, shared, not named and refers_to_base(stage, k)) for k, stage in enumerate(stages)
    ]
    share_out(tables)
    try:
        return validated(Recipe, tables)
    except ValueError as error:
        raise ValueError(str(error).replace("stages.0", place)) from None


def table_at(place: str, value: Any) -> Any:
    """The value if it is a table, else ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{place} is {shown(value)}, but must be a table")
    return value


def refers_to_base(stage: Mapping[str, Any], index: int) -> bool:
    """Whether the reference of a stage is the base in every repetition. With reference = "start" this holds for a stage
    that starts from the base, and for the first stage if it isn't repeated."""
    if stage.get("reference", "base") == "base":
        return True
    first = index == 0 and stage.get("start", "previous") == "previous" and stage.get("repeat", 1) == 1
    return stage["reference"] == "start" and (first or stage.get("start") == "base")


def with_floor(stage: dict[str, Any], shared: Mapping[str, Any] | None, based: bool) -> dict[str, Any]:
    """The stage with the recipe's `keep` merged under its own. If the floor steers nothing, a signal on self-generated
    text of the base is added for it to steer. `based`: whether the stage's reference is the base, so that one frozen
    model is enough for both."""
    if shared is None and "keep" not in stage:
        return stage
    keep = merge(shared or {}, stage.get("keep", {}))
    stage = {**stage, "keep": keep}
    if not keep.get("floor", KeepSpec().floor) or keep.get("steer"):
        return stage
    name = FLOOR["signal"]["name"]
    for key in ("signals", "anchors"):
        if not isinstance(stage.get(key, []), list):
            return stage  # validation raises the error
    if any(isinstance(signal, Mapping) and signal.get("name") == name for signal in stage.get("signals", [])):
        raise ValueError(
            f"the floor would add a signal {name!r}, but the stage has one of that name: name it in keep.steer"
        )
    written = {key: keep[key] for key in ("documents", "max_tokens") if key in keep}
    signal = merge(FLOOR["signal"], {"source": written})
    if "batch" in keep:
        signal["batch"] = keep["batch"]
    anchor = {**FLOOR["anchor"], "to": "reference" if based else "base"}
    more = {"signals": [*stage.get("signals", []), signal], "anchors": [*stage.get("anchors", []), anchor]}
    return {**stage, **more, "keep": {**keep, "steer": [name]}}


def write(recipe: Recipe) -> str:
    """The resolved recipe as TOML, with every default written out except those that are null."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True, by_alias=True))
