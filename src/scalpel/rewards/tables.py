"""The tables of rewards, checked against the functions that they are for before anything is opened or called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalpel.binding.bind import (
    Key,
    bound_table,
    bounded,
    keys_of,
    placed,
)
from scalpel.binding.bounds import Count, Name, Weight
from scalpel.binding.plain import shown
from scalpel.outside.files import function_at
from scalpel.registry import unknown
from scalpel.rewards.judge import JUDGES
from scalpel.rewards.shaping import SHAPES
from scalpel.rewards.verifiers import VERIFIERS
from scalpel.rewards.verifiers import make as make_verifier

ALL = {"name": Key(Name), "weight": Key(Weight, 1.0), "early": Key(bool, False), "timeout": Key(Any, None)}
GIVEN = {"of": Key(Any), "where": Key(Any), "least": Key(Weight, 1.0)}
NUMBERS = {int: Count, float: Weight}


def refuse_rewards(specs: Sequence[Any], place: str = "data.rewards") -> None:
    """Refuses tables that can be no rewards. "data" stands for what [data] says."""
    for k, spec in enumerate(specs):
        refuse_reward(spec, f"{place}.{k}")


def refuse_reward(spec: Any, place: str) -> None:
    table = {"name": spec} if isinstance(spec, str) else spec
    if not isinstance(table, Mapping):
        raise ValueError(f"{place} is {shown(spec)}, but must be the name of a reward or a table")
    name = table.get("name")
    if not isinstance(name, str):
        raise ValueError(f'{place}.name is {shown(name)}, but must be text, as in {{name = "task"}}')
    if name in ("task", "data"):
        bound_table(place, table, ALL)
    elif ".py:" in name:
        bound_table(place, table, ALL)
        with placed(place):
            function_at(name)
    elif name == "given":
        bound_table(place, table, ALL | GIVEN)
        for key in ("of", "where"):
            refuse_reward(table[key], f"{place}.{key}")
    else:
        refuse_named(name, table, place)


def refuse_named(name: str, table: Mapping[str, Any], place: str) -> None:
    """Refuses the table of a verifier, a judge or what shapes rewards."""
    every = {**VERIFIERS, **JUDGES, **SHAPES}
    if name not in every:
        raise ValueError(f"{place}: {unknown('reward', name, [*every, 'task', 'given'])}, or path.py:function")
    own = keys_of(every[name], without=("ask", "seen", "completion", "example"))
    bounds = {key: Key(bounded(k.wanted, NUMBERS), k.default) for key, k in own.items()}
    bound_table(place, table, ALL | bounds)
    if name in VERIFIERS:
        with placed(place):
            make_verifier({key: value for key, value in table.items() if key in {"name", *own}})
