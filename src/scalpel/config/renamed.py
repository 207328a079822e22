"""Deprecated names of recipe keys: accepted for one release, with a warning in the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger("scalpel")
# old name → new name, by the table that has the key
STAGE = {
    "owned_rate": "head_lr_multiplier",
    "owned_first": "head_warmup",
    "checkpointing": "gradient_checkpointing",
}
SIGNAL = {"reuse": "updates_per_batch"}
SAMPLING = {"entropy": "target_entropy", "pace": "temperature_rate"}
KEEP = {
    "answer": "proportional_gain",
    "rate": "integral_gain",
    "memory": "ema",
    "most": "max_strength",
}


def renamed(tables: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's tables with the new names. ValueError if a table has a key under both names."""
    made, said = dict(tables), dict[str, str]()
    if "train" in made:
        made["train"] = stage(made["train"], "train", said)
    if isinstance(made.get("stages"), list):
        made["stages"] = [stage(table, f"stages.{k}", said) for k, table in enumerate(made["stages"])]
    if "keep" in made:
        made["keep"] = table(made["keep"], "keep", KEEP, said)
    if isinstance(compare := made.get("compare"), Mapping):
        compare = dict(compare)
        if "shared" in compare:
            compare["shared"] = stage(compare["shared"], "compare.shared", said)
        if isinstance(compare.get("arms"), list):
            compare["arms"] = [stage(arm, f"compare.arms.{k}", said) for k, arm in enumerate(compare["arms"])]
        made["compare"] = compare
    if said:
        words = ", ".join(f"{place} is {new} now" for place, new in said.items())
        log.warning("this recipe has deprecated keys, which the next release will refuse: %s", words)
    return made


def stage(found: Any, place: str, said: dict[str, str]) -> Any:
    """A stage, or a table of a comparison that has the keys of a stage, with the tables inside it."""
    if not isinstance(found, Mapping):
        return found
    made = table(found, place, STAGE, said)
    for key, names in (("sampling", SAMPLING), ("keep", KEEP)):
        if key in made:
            made[key] = table(made[key], f"{place}.{key}", names, said)
    signals = made.get("signals")
    if isinstance(signals, list):
        made["signals"] = [table(s, f"{place}.signals.{k}", SIGNAL, said) for k, s in enumerate(signals)]
    elif isinstance(signals, Mapping):
        made["signals"] = {k: table(s, f"{place}.signals.{k}", SIGNAL, said) for k, s in signals.items()}
    if isinstance(made.get("stages"), list):
        made["stages"] = [stage(inner, f"{place}.stages.{k}", said) for k, inner in enumerate(made["stages"])]
    return made


def table(found: Any, place: str, names: Mapping[str, str], said: dict[str, str]) -> Any:
    if not isinstance(found, Mapping):
        return found
    made: dict[str, Any] = {}
    for key, value in found.items():
        new = names.get(key, key) if isinstance(key, str) else key
        if new != key:
            said[f"{place}.{key}"] = new
            if new in found:
                raise ValueError(f"{place} has both {new} and {key}, its deprecated name: leave out {key}")
        made[new] = value
    return made
