"""An arm of a comparison: one method, as a recipe of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scalpel.config.merge import merge
from scalpel.config.plan import assemble
from scalpel.config.recipe import CompareSpec, Recipe, parse
from scalpel.runs.files import path_name

ARM_KEYS = ("name", "stages", "learning_rates")  # keys of an arm's table that aren't keys of its stage


@dataclass(frozen=True)
class Arm:
    """One method as a recipe, and the grid of learning rates to try."""

    name: str
    recipe: Recipe
    rates: tuple[float, ...]


def arm_of(table: Mapping[str, Any], spec: CompareSpec, recipe: Recipe) -> Arm:
    """The arm of a [[compare.arms]] table, with its stages assembled once as a check. Raises ValueError that names the
    arm."""
    name = str(table.get("name") or table.get("method") or "")
    if not name:
        raise ValueError(f"the arm {dict(table)} needs a name")
    path_name(name, "the arm")
    raw = recipe.model_dump(mode="json", exclude={"compare", "stages", "name"}, exclude_none=True, by_alias=True)
    own = {key: value for key, value in table.items() if key not in ARM_KEYS}
    raw["stages"] = [merge(spec.shared, stage) for stage in table.get("stages", [own])]
    try:
        made = parse(raw, name=name)
        for stage in made.stages:
            assemble(stage, made)
    except ValueError as error:
        raise ValueError(f"arm {name!r}: {error}") from None
    rates = table.get("learning_rates", spec.learning_rates) or [made.stages[-1].learning_rate]
    return Arm(name, made, tuple(map(float, rates)))


def measured_alike(arms: Sequence[Arm]) -> list[Arm]:
    """The arms with one `max_tokens` for measured answers, the longest of any arm. With different limits, an arm that
    samples short answers in training would be measured on truncated ones."""
    longest = max(arm.recipe.answer_tokens for arm in arms)
    return [
        replace(arm, recipe=arm.recipe.model_copy(update={"measure": measure}))
        for arm in arms
        for measure in [arm.recipe.measure.model_copy(update={"max_tokens": longest})]
    ]
