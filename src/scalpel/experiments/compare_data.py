"""The data inventory of a comparison: one table, since its arms share the data, with notes on where they don't."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalpel import tasks
from scalpel.config.recipe import Recipe
from scalpel.config.row_shares import uses
from scalpel.experiments.data_inventory import Inventory, inventory


def shared_inventory(recipe: Recipe, arms: Mapping[str, Recipe]) -> Inventory:
    """The inventory of all data that a comparison uses, in any arm and in the tuning of learning rates. Raises
    ValueError where a use has no rows."""
    batch = max(stage.batch for arm in arms.values() for stage in arm.stages)
    found = inventory(recipe, batch)
    return Inventory(found.lines, [*found.notes, *differences(arms)])


def differences(arms: Mapping[str, Recipe]) -> list[str]:
    """A note on which arms train on which data, if that isn't the same for all."""
    groups: dict[str, tuple[str, list[str]]] = {}
    for name, arm in arms.items():
        tables = trained(arm)
        groups.setdefault(repr(tables), (" and ".join(map(named, tables)), []))[1].append(name)
    if len(groups) < 2:
        return []
    parts = [f"{', '.join(names)} from {what}" for what, names in groups.values()]
    return [f"the arms don't train on the same rows: {'; '.join(parts)}"]


def trained(arm: Recipe) -> list[dict[str, Any]]:
    """The tables of the tasks that an arm trains on, each once. The recipe's own task, which comes first, is left out
    if every signal has a task of its own."""
    tables = arm.model_dump(mode="json", by_alias=True, exclude_none=True)
    found = [use.table for use in uses(tables) if use.trains]
    if all(stage.signals and None not in [signal.task for signal in stage.signals] for stage in arm.stages):
        found = found[1:]
    return [table for k, table in enumerate(found) if table not in found[:k]]


def named(table: Mapping[str, Any]) -> str:
    return str(tasks.make(table).name)
