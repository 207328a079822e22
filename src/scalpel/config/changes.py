"""Differences between a recipe and the one that a run began with, and which of them are allowed on resume."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from scalpel.config.recipe import Recipe, parse

# Keys that don't change the weights, except for rounding.
UNSEEN = "checkpoint_every|log_completions|micro_tokens|gradient_checkpointing"
FREE = re.compile(rf"name|threads|track|(measure|compare)(\..*)?|(train|stages\.\d+)\.({UNSEEN})")
JUDGED = re.compile(
    r"compare\.(price|limit|until_decided|most|looks(\.\d+)?)"
)  # affect the verdict only, which is computed from the measurements
ALIKE = re.compile(  # of a comparison: keys that leave its arms alike, though some of them ran before
    rf"name|threads|track|compare\.workers|{JUDGED.pattern}|compare\.(shared|arms\.\d+)(\.stages\.\d+)?\.({UNSEEN})"
)
PROBES = re.compile(r"measure\.probes(\..*)?")  # with a floor they say which items are left out of the keep sets
RATE = re.compile(r"(train|stages\.\d+)\.learning_rate")
STAGE = re.compile(r"(train|stages\.\d+)?")
STEPS = re.compile(r"(train|stages\.\d+)\.(steps|budget(\..*)?)")


class Change(NamedTuple):
    """A key with its old and new value; None where it was not set."""

    key: str
    was: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: was {shown(self.was)}, now {shown(self.now)}"


def shown(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, Mapping) and value.keys() == {"name"}:
        value = value["name"]
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 80 else f"{text[:77]}…"


def changes(saved: str, recipe: Recipe) -> list[Change]:
    """What differs between the recipe that a run began with, as its file says it, and this one. Keys that are missing
    there, since that version had none, have their default."""
    raw = tomllib.loads(saved)
    try:
        then = as_tables(parse(raw))
    except ValueError:  # of another version, with keys that are none any more
        then = raw
    before, after = named(then), named(as_tables(recipe))
    return list(differences(before, after, ""))


def as_tables(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude_none=True, by_alias=True)


def named(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables, with a single stage as [train]."""
    found = dict(tables)
    if len(found.get("stages", [])) == 1:
        (found["train"],) = found.pop("stages")
    return found


def differences(was: Any, now: Any, place: str) -> Iterator[Change]:
    if isinstance(was, Mapping) and isinstance(now, Mapping) and (STAGE.fullmatch(place) or same_part(was, now)):
        for key in [*was, *(k for k in now if k not in was)]:
            yield from differences(was.get(key), now.get(key), f"{place}.{key}" if place else str(key))
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for k, (a, b) in enumerate(zip(was, now, strict=True)):
            yield from differences(a, b, f"{place}.{k}")
    elif was != now:
        yield Change(place, was, now)


def same_part(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return bool(was.get("name") == now.get("name"))


def refuse_other(saved: str, recipe: Recipe, folder: Path, lower_rate: bool = False) -> list[Change]:
    """The keys that have changed and may. Raises ValueError for one that may not: the run could not go on as if it had
    never stopped. `lower_rate`: the learning rate may be lower, since the run broke down and was told so."""
    floor = any(stage.keep and stage.keep.floor for stage in recipe.stages)
    found = changes(saved, recipe)
    wrong = [c for c in found if not allowed(c, floor, lower_rate)]
    if wrong:
        raise ValueError(
            f"this run was begun with another recipe ({'; '.join(map(str, wrong))}), so it can't go on with this one: "
            f"{way_out(wrong, folder)}"
        )
    return found


def refuse_other_comparison(saved: str, recipe: Recipe) -> list[Change]:
    """The keys of a comparison that have changed and may. Raises ValueError for one that may not: its arms would not be
    alike, since those that are finished were trained and measured as the recipe said then."""
    found = changes(saved, recipe)
    if any(c.key == "compare.until_decided" and c.was for c in found):
        raise ValueError(
            "this comparison adds seeds until it is decided, at looks that share one level, and a verdict on the same "
            "seeds at the level of a single look would not hold: resume it with --until-decided, or with "
            "compare.until_decided = true"
        )
    wrong = [c for c in found if not ALIKE.fullmatch(c.key)]
    if wrong:
        raise ValueError(
            f"this comparison was begun with another recipe ({'; '.join(map(str, wrong))}), and arms that ran before "
            "would not be like those to come: resume with the recipe that is written in its folder, or choose another "
            "folder (--out)"
        )
    return found


def allowed(change: Change, floor: bool, lower_rate: bool) -> bool:
    if floor and PROBES.fullmatch(change.key):
        return False
    if lower_rate and RATE.fullmatch(change.key):
        return change.was is not None and change.now is not None and change.now < change.was
    return FREE.fullmatch(change.key) is not None


def way_out(wrong: list[Change], folder: Path) -> str:
    words = "resume with the recipe that is written in its folder, or choose another folder (--out)"
    if any(STEPS.fullmatch(c.key) for c in wrong):
        words += (
            "; to train further than it was to go, which would be another schedule, let it end and begin a run from "
            f'its result, with start = "{folder / "model"}" under [train]'
        )
    elif any(RATE.fullmatch(c.key) for c in wrong):
        words += "; the learning rate may only be lowered, and only after a run has broken down and says so"
    return words
