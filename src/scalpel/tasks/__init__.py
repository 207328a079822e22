"""Tasks: prompts with a verifier. `make` turns a recipe's table into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import Field

from scalpel.binding.bind import (
    Key,
    bound_table,
    bounded,
    keys_of,
    placed,
)
from scalpel.binding.plain import shown
from scalpel.binding.table import table_keys
from scalpel.data.example import Task
from scalpel.extensions import find, is_path, load_plugins
from scalpel.registry import AXES, unknown
from scalpel.rewards.verifiers import make as make_verifier
from scalpel.tasks.data import DataTask, data_task
from scalpel.tasks.instruct import Instructed, Instruction
from scalpel.tasks.mix import Mix, mix
from scalpel.tasks.read import FORMS, hub
from scalpel.tasks.reasoning_gym import PREFIX, ReasoningGym, configured, generators

__all__ = ["DataTask", "Instructed", "Instruction", "Mix", "ReasoningGym", "make"]

INSTRUCTION = tuple(f.name for f in fields(Instruction))
ANY = {int: Annotated[int, Field(ge=-1_000_000, le=1_000_000)]}  # a generator checks tighter bounds itself


def make(spec: Mapping[str, Any], place: str = "task") -> Task:
    """A task from a table such as {name = "jsonl", path = "sums.jsonl", verify = "math-verify"}.

    name      "world/…", "reasoning-gym/<generator>", "hub", "file" for a data file of any known format, or the
              format by name: "jsonl", "json", "csv", "parquet" or "arrow"; "mix" for several `sources` with shares
    verify    for data sets: "exact", "contains", "pattern", "math-verify", "path.py:name", or a table with options
    chat, system, template, after, extract    see `Instruction`; reasoning-gym's questions are chat messages unless
              chat = false
    The other keys are the task's own: difficulty of a world task, config of a generator, path and columns of data.
    `place` is the table's place in the recipe, for messages.
    """
    name = name_of(spec, place)
    options = bound_table(place, spec, {"name": Key(str), **keys_of(Instruction), **own_keys(name, place)})
    del options["name"]
    put = {key: options.pop(key) for key in INSTRUCTION if key in options}
    with placed(place):
        if name.startswith(PREFIX):
            put.setdefault("chat", True)
            task: Task = ReasoningGym(name.removeprefix(PREFIX), **options)
        elif name == "mix":
            task = mix(make, **options)
        elif name in FORMS:
            verify = options.pop("verify", None)
            verifier = None if verify is None else make_verifier(verify, f"{place}.verify")
            task = data_task(name, verifier=verifier, **options)
        else:
            registered = find("task", name)
            made = registered if callable(registered) else registered.at
            task = made(**options) if options or made is registered else registered
        instruction = Instruction(**put)
    return task if instruction == Instruction() else Instructed(task, instruction)


def name_of(spec: Any, place: str) -> str:
    """The name in a task's table."""
    if not isinstance(spec, Mapping):
        raise ValueError(f'{place} is {shown(spec)}, but must be a table, such as {{name = "world/reverse"}}')
    name = spec.get("name")
    if not isinstance(name, str):
        came = "has no name" if name is None else f"has the name {shown(name)}"
        raise ValueError(f'{place} {came}: a task needs a name, such as name = "world/reverse" or name = "jsonl"')
    return name


def own_keys(name: str, place: str) -> dict[str, Key]:
    """The keys that a task has besides those of an instruction."""
    import scalpel.world  # noqa: F401  # registers its tasks

    if name in FORMS:
        source = keys_of(hub, without=("path", "split")) if name == "hub" else {}
        return {
            **source,
            **keys_of(data_task, without=("form", "verifier")),
            "verify": Key(str | dict[str, Any] | None, None),
        }
    if name.startswith(PREFIX):
        return {k: Key(bounded(key.wanted, ANY), None) for k, key in configured(name.removeprefix(PREFIX)).items()}
    if name == "mix":
        return keys_of(mix, without=("make",))
    if not is_path(name) and name not in AXES["task"]:
        load_plugins()
    if not is_path(name) and name not in AXES["task"]:
        every = [*AXES["task"], *FORMS, "mix", *(PREFIX + g for g in generators())]
        raise ValueError(f"{place}: {unknown('task', name, every).partition(': known')[0]}: known are {families()}")
    with placed(place):
        task = find("task", name)
    if callable(task):
        return table_keys(task)
    if hasattr(task, "keys"):
        return dict(task.keys())
    return {k: Key(key.wanted, None) for k, key in keys_of(task.at).items()} if hasattr(task, "at") else {}


def families() -> str:
    """All task names, abbreviated."""
    return (
        f"{', '.join(sorted(AXES['task']))}, {PREFIX}<one of {len(generators())} generators>, {', '.join(FORMS)}, mix"
    )
