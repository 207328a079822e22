"""Differences between a recipe and the one that a run was started with, and which of them are allowed on resume."""

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
# Keys that affect only the verdict, which is computed anew from the ledgers.
JUDGED = re.compile(r"compare\.(price|limit|until_decided|most|looks(\.\d+)?)")
ALIKE = re.compile(  # of a comparison: keys that may change without making finished arms incomparable
    rf"name|threads|track|compare\.workers|{JUDGED.pattern}|compare\.(shared|arms\.\d+)(\.stages\.\d+)?\.({UNSEEN})"
)
PROBES = re.compile(r"measure\.probes(\..*)?")  # with a floor, probe items are excluded from the keep sets
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
    """The differences between the recipe that a run was started with (the text of its file) and this one. Keys that the
    saved recipe lacks, because an earlier version wrote it, count as having their default."""
    raw = tomllib.loads(saved)
    try:
        then = as_tables(parse(raw))
    except ValueError:  # written by another version, with keys that no longer exist
        then = raw
    before, after = named(then), named(as_tables(recipe))
    return list(differences(before, after, ""))


def as_tables(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude_none=True, by_alias=True)


def named(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables, with a single stage under the key `train`, as users write it."""
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
    """The allowed changes. Raises ValueError for any other, with which the resumed run would not equal an uninterrupted
    one. `lower_rate`: the learning rate may be lowered, because the run diverged and its message said so."""
    floor = any(stage.keep and stage.keep.floor for stage in recipe.stages)
    found = changes(saved, recipe)
    wrong = [c for c in found if not allowed(c, floor, lower_rate)]
    if wrong:
        raise ValueError(
            f"this run was started with another recipe ({'; '.join(map(str, wrong))}), so it can't be resumed with "
            f"this one: {way_out(wrong, folder)}"
        )
    return found


def refuse_other_comparison(saved: str, recipe: Recipe) -> list[Change]:
    """The allowed changes of a comparison. Raises ValueError for any other: finished arms were trained and measured by
    the old recipe, so they could not be compared with the arms to come."""
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
            f"this comparison was started with another recipe ({'; '.join(map(str, wrong))}), so its finished arms "
            "could not be compared with the others: resume with the recipe saved in its folder, or choose another "
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
    words = "resume with the recipe saved in its folder, or choose another folder (--out)"
    if any(STEPS.fullmatch(c.key) for c in wrong):
        words += (
            "; to train for more steps, which would change the learning rate schedule, let the run finish and start a "
            f'new one from its result, with start = "{folder / "model"}" under [train]'
        )
    elif any(RATE.fullmatch(c.key) for c in wrong):
        words += "; the learning rate can only be lowered, and only after the run stopped because it diverged"
    return words
