"""Probes from the tables of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from scalpel.binding.bind import Key, Words, checked_value
from scalpel.binding.bounds import Name
from scalpel.binding.plain import shown
from scalpel.binding.table import BoundTable, Maker, Makers, bind_table
from scalpel.data.example import Task
from scalpel.environments import Environment
from scalpel.environments import make as make_environment
from scalpel.evaluation.probes.choose import Choices, read_choices
from scalpel.evaluation.probes.item import Probe, Role
from scalpel.extensions import find
from scalpel.registry import unknown
from scalpel.runs.files import file_names

ALONE = 256  # tokens of an answer where neither a probe nor a stage says
MakeTask = Callable[[Any], Task]


def make_probes(
    specs: Sequence[Mapping[str, Any]],
    target: str,
    make_task: MakeTask,
    max_tokens: int = ALONE,
    place: str = "measure.probes",
) -> list[Probe]:
    """A probe for each table `{name, kind, …}`; `kind` is "generate" unless said, and its other keys are the
    keyword-only arguments of what is registered under it. The one named `target` (the first, where that is empty) shows
    the gain. Answers of those that say nothing of it may have `max_tokens`."""
    if not specs:
        raise ValueError("there is no probe, so nothing could be measured; add a [[measure.probes]] table")
    names = names_of(specs, place)
    target = target or names[0]
    if target not in names:
        raise ValueError(f"measure.target: {unknown('probe', target, names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"two probes share a name in {names}; the ledger keeps one file a name, so rename one")
    file_names(names, "probe")
    roles: list[Role] = ["target" if name == target else "keep" for name in names]
    made_by = makers(make_task)
    bound = [bound_of_kind("probe", spec, f"{place}.{k}", "generate", made_by) for k, spec in enumerate(specs)]
    handed: dict[str, Any] = {"answer_tokens": max_tokens}
    return [one(name=name, role=role, **handed) for name, role, one in zip(names, roles, bound, strict=True)]


def bound_of_kind(axis: str, spec: Any, place: str, unless: str, made_by: Makers) -> BoundTable:
    """A table `{name, kind, …}`, checked, with its task made and its file of choices read."""
    return bind_table(axis, place, spec, unless=unless, common={"name": Key(Name)}, makers=made_by, find=find)


def makers(make_task: MakeTask, read: Callable[[str], Any] = read_choices) -> Makers:
    """How tasks and choices are made of what a table says of them."""
    return {
        Task: Maker(make_task, Annotated[Any, Words("the table of a task")]),
        Environment: Maker(make_environment, Annotated[Any, Words("the table of an environment")]),
        Choices: Maker(read, str),
    }


def names_of(specs: Sequence[Any], place: str) -> list[str]:
    """The names in tables that need one."""
    names = []
    for k, spec in enumerate(specs):
        if not isinstance(spec, Mapping):
            raise ValueError(f"{place}.{k} is {shown(spec)}, but must be a table")
        if "name" not in spec:
            raise ValueError(f"{place}.{k} has no name; add one, by which it is called in files and tables")
        names.append(checked_value(f"{place}.{k}.name", spec["name"], Name))
    return names
