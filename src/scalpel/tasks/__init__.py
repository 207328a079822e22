"""Tasks: prompts with a verifier. `make` turns a recipe's table into one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalpel.binding.bind import Key, keys_of, placed
from scalpel.binding.plain import shown
from scalpel.binding.table import Keyed, Maker, bind_table
from scalpel.data.example import Task
from scalpel.extensions import find, is_path, load_plugins
from scalpel.registry import AXES, unknown
from scalpel.rewards.user import Verifier
from scalpel.rewards.verifiers import make as make_verifier
from scalpel.tasks.data import DataTask
from scalpel.tasks.instruct import Instructed, Instruction
from scalpel.tasks.mix import Mix
from scalpel.tasks.reasoning_gym import PREFIX, ReasoningGym, generated, generators

__all__ = ["DataTask", "Instructed", "Instruction", "Mix", "ReasoningGym", "make"]

MAKERS = {Verifier: Maker(make_verifier, str | dict[str, Any] | None)}


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
    refuse_nameless(spec, place)
    bound = bind_table(
        "task", place, spec, named="name", common=keys_of(Instruction), makers=MAKERS, find=registered_task
    )
    task: Task = bound(form=bound.name, make=make)
    said = {key: value for key, value in bound.common.items() if key != "name"}
    with placed(place):
        instruction = Instruction(**{**getattr(task, "default_instruction", {}), **said})
    return task if instruction == Instruction() else Instructed(task, instruction)


def refuse_nameless(spec: Any, place: str) -> None:
    """Raises ValueError for what is no table with a name."""
    if not isinstance(spec, Mapping):
        raise ValueError(f'{place} is {shown(spec)}, but must be a table, such as {{name = "world/reverse"}}')
    if not isinstance(name := spec.get("name"), str):
        came = "has no name" if name is None else f"has the name {shown(name)}"
        raise ValueError(f'{place} {came}: a task needs a name, such as name = "world/reverse" or name = "jsonl"')


def registered_task(axis: str, name: str, called: str) -> Any:
    """What makes the task of that name: the function that is registered under it, or a registered task with the keys
    of its difficulty."""
    import scalpel.tasks.suite  # registers its tasks
    import scalpel.world  # noqa: F401  # the same

    if name.startswith(PREFIX):
        return generated(name)
    if not is_path(name) and name not in AXES[axis]:
        load_plugins()
    if not is_path(name) and name not in AXES[axis]:
        every = [*AXES[axis], *(PREFIX + g for g in generators())]
        raise ValueError(f"{unknown(called, name, every).partition(': known')[0]}: known are {families()}")
    found = find(axis, name)
    return found if callable(found) else adjustable(found)


def adjustable(task: Any) -> Keyed:
    """A registered task as what makes it at another difficulty; the task itself where its table names none."""
    keys = task.keys() if hasattr(task, "keys") else keys_of(task.at) if hasattr(task, "at") else {}
    own = {name: Key(key.wanted, None) for name, key in keys.items()}
    return Keyed(lambda **difficulty: task.at(**difficulty) if difficulty else task, own)


def families() -> str:
    """All task names, abbreviated."""
    return f"{', '.join(sorted(AXES['task']))}, {PREFIX}<one of {len(generators())} generators>"
