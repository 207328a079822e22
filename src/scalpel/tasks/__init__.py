"""Tasks: prompts with a verifier. `make` turns a recipe's table into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from inspect import Parameter, signature
from typing import Any

from scalpel.example import Task
from scalpel.registry import AXES, lookup, unknown
from scalpel.rewards.verifiers import make as make_verifier
from scalpel.tasks.data import DataTask, data_task
from scalpel.tasks.instruct import Instructed, Instruction
from scalpel.tasks.mix import Mix, mix
from scalpel.tasks.read import FORMS, hub
from scalpel.tasks.reasoning_gym import PREFIX, ReasoningGym, generators

__all__ = ["DataTask", "Instructed", "Instruction", "Mix", "ReasoningGym", "make"]

INSTRUCTION = tuple(f.name for f in fields(Instruction))


def make(spec: Mapping[str, Any]) -> Task:
    """A task from a table such as {name = "jsonl", path = "sums.jsonl", verify = "math-verify"}.

    name      "world/…", "reasoning-gym/<generator>", "hub", "file" for a data file of any known format, or the
              format by name: "jsonl", "json", "csv", "parquet" or "arrow"; "mix" for several `sources` with shares
    verify    for data sets: "exact", "contains", "pattern", "math-verify", "path.py:name", or a table with options
    chat, system, template, after, extract    see `Instruction`; reasoning-gym's questions are put as chat unless
              chat = false
    The other keys are the task's own: difficulty of a world task, config of a generator, path and columns of data.
    """
    options = dict(spec)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ValueError('a task needs a name, such as name = "world/reverse" or name = "jsonl"')
    put = {key: options.pop(key) for key in INSTRUCTION if key in options}
    if name.startswith(PREFIX):
        put.setdefault("chat", True)
        task: Task = ReasoningGym(name.removeprefix(PREFIX), **options)
    elif name == "mix":
        task = mix(make, **options)
    elif name in FORMS:
        task = _data(name, options)
    else:
        task = _registered(name, options)
    instruction = Instruction(**put)
    return task if instruction == Instruction() else Instructed(task, instruction)


def _data(form: str, options: dict[str, Any]) -> Task:
    parameters = {**signature(data_task).parameters, **(signature(hub).parameters if form == "hub" else {})}
    known = {k for k, p in parameters.items() if p.kind is not Parameter.VAR_KEYWORD} - {"form", "verifier"}
    for key in options:
        if key not in known | {"verify"}:
            raise ValueError(f"task {form!r}: {unknown('key', key, known | {'verify'})}")
    verify = options.pop("verify", None)
    return data_task(form, verifier=None if verify is None else make_verifier(verify), **options)


def _registered(name: str, options: dict[str, Any]) -> Task:
    import scalpel.world  # noqa: F401  # registers its tasks

    if name not in AXES["task"]:
        every = [*AXES["task"], *FORMS, "mix", *(PREFIX + g for g in generators())]
        raise ValueError(f"{unknown('task', name, every).partition(': known')[0]}: known are {families()}")
    task = lookup("task", name)
    if options and not hasattr(task, "at"):
        raise ValueError(f"task {name!r} has no keys of its own, but {', '.join(options)} came")
    return task.at(**options) if options else task


def families() -> str:
    """All task names in few words."""
    return (
        f"{', '.join(sorted(AXES['task']))}, {PREFIX}<one of {len(generators())} generators>, {', '.join(FORMS)}, mix"
    )
