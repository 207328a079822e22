"""Validation of the tables of rewards against their functions, before any model is loaded or function called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalpel.binding.bind import (
    Key,
    checked_table,
    placed,
)
from scalpel.binding.bounds import PartName, Weight
from scalpel.binding.plain import shown
from scalpel.binding.table import Maker, bind_table
from scalpel.extensions import is_path, load_plugins
from scalpel.extensions.files import function_at
from scalpel.registry import AXES, unknown
from scalpel.rewards.declared import Scoring, function_of, inner_keys, judge_of, refuse_shaping
from scalpel.rewards.shaping import NUMBERS

ALL = {"name": Key(PartName), "weight": Key(Weight, 1.0), "early": Key(bool, False), "timeout": Key(Any, None)}
DATA = "data"  # in the rewards of a signal: those that [data] names
INSIDE = {Scoring: Maker(lambda spec: spec, str | dict[str, Any])}  # a reward inside another is checked as one
KINDS = ("verifier", "judge", "shaping")  # axes of which rewards are


def refuse_rewards(specs: Sequence[Any], place: str = "data.rewards") -> None:
    """Raises ValueError for invalid tables of rewards."""
    for k, spec in enumerate(specs):
        refuse_reward(spec, f"{place}.{k}")


def refuse_reward(spec: Any, place: str) -> None:
    table = {"name": spec} if isinstance(spec, str) else spec
    if not isinstance(table, Mapping):
        raise ValueError(f"{place} is {shown(spec)}, but must be the name of a reward or a table")
    name = table.get("name")
    if not isinstance(name, str):
        raise ValueError(f'{place}.name is {shown(name)}, but must be text, as in {{name = "task"}}')
    if name == DATA:
        checked_table(place, table, ALL)
    elif is_path(name):
        checked_table(place, table, ALL)
        with placed(place):
            function_at(name)
    else:
        refuse_named(name, table, place)


def refuse_named(name: str, table: Mapping[str, Any], place: str) -> None:
    """Raises ValueError for an invalid table of a verifier, a judge or a shaping reward, and for invalid inner
    rewards."""
    load_plugins()
    axis = next((axis for axis in KINDS if name in AXES[axis]), None)
    if axis is None:
        every = [*(known for axis in KINDS for known in AXES[axis]), DATA]
        raise ValueError(f"{place}: {unknown('reward', name, every)}, or path.py:function")
    bound = bind_table(axis, place, table, named="name", common=ALL, makers=INSIDE, numbers=NUMBERS, find=function_of)
    if (judge := judge_of(name)) and judge.check:
        with placed(place):
            judge.check(bound.arguments)
    for key in inner_keys(bound.function):
        if key in bound.arguments:
            with placed(f"{place}.{key}"):
                refuse_shaping(bound.arguments[key])
            refuse_reward(bound.arguments[key], f"{place}.{key}")
