"""Checks of a recipe that need no model: its parts, tasks, rewards, keep sets and probes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from scalpel import tasks
from scalpel.binding.bind import (
    Key,
    checked_table,
    checked_value,
    placed,
)
from scalpel.binding.bounds import LearningRate, Name
from scalpel.binding.plain import shown
from scalpel.config.plan import Plan, Stream, assemble, bound
from scalpel.config.recipe import PartSpec, Recipe, StageSpec
from scalpel.data import chat_template
from scalpel.data.example import items_of
from scalpel.evaluation.probes import make_probes
from scalpel.extensions.files import function_at
from scalpel.keep import refuse_sets
from scalpel.rewards.tables import refuse_rewards
from scalpel.rewards.user import Users

log = logging.getLogger("scalpel")


def refuse_recipe(recipe: Recipe) -> None:
    """Raises ValueError for a recipe that can't work, with the key at fault: for wrong tables, and for files that can't
    be read."""
    for spec in (recipe.model, *recipe.models.values()):
        if spec.chat_template:
            chat_template.read(spec.chat_template)
    refuse_rewards(recipe.data.rewards)
    plans = [assemble(stage, recipe) for stage in recipe.stages]
    for plan in plans:
        warn_of_samples_alike(plan)
    task = tasks.make(recipe.task)
    if recipe.stages and not task.examples("train", 1, recipe.data.seed):
        raise ValueError(f"task {task.name!r} has no training items: give its split 'train' a share, or a file")
    for k, stage in enumerate(recipe.stages):
        refuse_stage(stage, "train" if len(recipe.stages) == 1 else f"stages.{k}")
    for stream in (stream for plan in plans for stream in plan.streams):
        refuse_columns(recipe, stream)
    if recipe.measure.probes:
        make_probes(recipe.measure.probes, recipe.measure.target, tasks.make)


def warn_of_samples_alike(plan: Plan) -> None:
    """Warns where rewards are compared within groups whose samples can't differ: every advantage would be zero."""
    for stream in plan.streams:
        if stream.compares != "group":
            continue
        name = plan.spec.name or plan.spec.method or "the stage"
        if stream.source.hyper.get("size") == 1:
            log.warning("%s: in a group of one sample every advantage is zero: raise the source's size", name)
        if plan.spec.sampling.temperature == 0:
            log.warning("%s: at temperature 0 all samples of a group are equal, so every advantage is zero", name)


def refuse_columns(recipe: Recipe, stream: Stream) -> None:
    """Raises ValueError for a user's reward function that needs columns which the data doesn't have."""
    names = [spec if isinstance(spec, str) else str(spec["name"]) for spec in stream.rewards]
    users = [Users(name, function_at(name)) for name in names if ".py:" in name]
    if users:
        task = tasks.make(recipe.task if stream.task is None else dict(stream.task))
        examples = items_of(task, "train", recipe.data.items, recipe.data.seed, 1024)
        for function in users:
            function.suits(examples)


def refuse_stage(stage: StageSpec, place: str) -> None:
    """Raises ValueError for invalid tasks, rewards and sources in a stage's signals, anchors and keep sets."""
    for k, signal in enumerate(stage.signals):
        if signal.task is not None:
            tasks.make(signal.task, f"{place}.signals.{k}.task")
        refuse_rewards(signal.rewards or (), f"{place}.signals.{k}.rewards")
    for k, anchor in enumerate(stage.anchors):
        if anchor.hyper.get("task") is not None:
            tasks.make(anchor.hyper["task"], f"{place}.anchors.{k}.task")
        if anchor.hyper.get("source") is not None:
            with placed(f"{place}.anchors.{k}"):
                bound("source", PartSpec.model_validate(anchor.hyper["source"]))
    if stage.keep and stage.keep.floor:
        refuse_sets(stage.keep.sets, tasks.make)


def refuse_arms(arms: Sequence[Any]) -> None:
    """Raises ValueError for invalid [[compare.arms]] tables. The keys of a stage in them are checked with the stage."""
    stages = {f.alias or field: Key() for field, f in StageSpec.model_fields.items()}
    own = {
        "name": Key(Name, ""),
        "stages": Key(list[dict[str, Any]], []),
        "learning_rates": Key(list[LearningRate], []),
    }
    for k, table in enumerate(arms):
        place = f"compare.arms.{k}"
        checked_table(place, table, {key: Key(wanted.wanted, None) for key, wanted in {**stages, **own}.items()})
        if not table.get("name"):
            name = checked_value(f"{place}.method", table.get("method", ""), str)
            if not name:
                raise ValueError(f"the arm {shown(dict(table))} needs a name ({place})")
        if "stages" in table and not table["stages"]:
            raise ValueError(f"{place}.stages is empty, but must be a list of at least one table")
        if isinstance(table.get("stages"), list) and (more := sorted(set(table) & set(stages) - {"name"})):
            raise ValueError(f"{place} has stages and {more[0]!r} beside them: put that into a stage, or into shared")
