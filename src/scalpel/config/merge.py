"""Merging of a recipe's keys over those of a method's row."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from scalpel.binding.plain import shown
from scalpel.config.schema import StageSpec
from scalpel.methods import ROWS
from scalpel.registry import unknown

log = logging.getLogger("scalpel")
OWN = ("method", "name", "signals", "start", "repeat", "keep_optimiser")  # keys that apply only to the row's main stage


def over_row(stage: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The stage merged over its method's row. If the row has stages before or after its main one, the user's keys apply
    to all of them, except those that define the main stage (`OWN`); the user's `start` applies to the first."""
    method = stage.get("method")
    if method is None:
        return [dict(stage)]
    if not isinstance(method, str):
        raise ValueError(f'method is {shown(method)}, but must be the name of a method, as in method = "sft"')
    if method not in ROWS:
        raise ValueError(unknown("method", method, ROWS))
    row = ROWS[method]
    if not (row.before or row.after):
        return [fitted(merge(row.stage, stage), method, stage.get("signals"))]
    own = merge(row.stage, {"name": method, **{k: v for k, v in stage.items() if k not in ("method", "start")}})
    shared = {k: v for k, v in stage.items() if k not in OWN}
    before, after = ([merge(table, shared) for table in around] for around in (row.before, row.after))
    found = [made for table in before for made in over_row(table)]
    found += [fitted(own, method, stage.get("signals")), *(made for table in after for made in over_row(table))]
    if "start" in stage:
        found[0]["start"] = stage["start"]
    return found


def fitted(stage: dict[str, Any], method: str, written: Any) -> dict[str, Any]:
    """The stage with at most as many mini-batches as a batch has prompts, where the number comes from the method's row.
    A number that the user has `written` in the signals is kept, and raises later if it is too large."""
    own = written if isinstance(written, Mapping) else {}
    if isinstance(written, list) or not isinstance(stage["signals"], list):
        return stage
    for k, signal in enumerate(stage["signals"]):
        if not isinstance(signal, dict) or "mini_batches" in own.get(str(k), ()):
            continue
        batch = signal.get("batch", stage.get("batch", StageSpec.model_fields["batch"].default))
        if isinstance(batch, int) and 1 <= batch < signal.get("mini_batches", 1):
            say_fewer(method, signal["mini_batches"], batch)
            signal["mini_batches"] = batch
    return stage


@cache  # once a process: a recipe is read more than once
def say_fewer(method: str, parts: int, batch: int) -> None:
    log.info(
        "method %r splits a batch into %d mini-batches, but a batch of %d prompts can be split into at most %d: it "
        "gets %d updates; set batch to %d or more for the method's own number",
        method, parts, batch, batch, batch, parts,
    )  # fmt: skip


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key; any other value is replaced. A part with another name replaces the whole part, so
    that no hyper-parameter of the old one is left."""
    merged = deepcopy(dict(under))
    for key, value in over.items():
        merged[key] = over_value(merged.get(key), value)
    return merged


def over_value(under: Any, over: Any) -> Any:
    """A table is merged into a table, by index into a list ({"0" = …}), and into a part that is given by its name."""
    if not isinstance(over, Mapping):
        return deepcopy(over)
    if isinstance(under, str) and "name" not in over:
        return {"name": under, **deepcopy(dict(over))}
    if isinstance(under, list) and over and all(numbers(k, len(under)) for k in over):
        return [over_value(item, over[str(i)]) if str(i) in over else item for i, item in enumerate(under)]
    renamed = isinstance(under, Mapping) and "name" in over and over["name"] != under.get("name")
    return merge(under, over) if isinstance(under, Mapping) and not renamed else deepcopy(dict(over))


def numbers(key: str, size: int) -> bool:
    """Whether a key is an index into a list of that size."""
    return key.isascii() and key.isdecimal() and len(key) < 10 and int(key) < size
