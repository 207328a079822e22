"""A table of a recipe, bound to what is registered under the name in it: a part, probe, keep set, reward, task or
quantity.

What is registered is a function or a class. Its keyword-only arguments are the keys of the table. The program hands
over its other arguments by name: the role of a probe, the tokenizer for a keep set. An argument that is annotated with
a type of `makers` (a task, a file of choices) is made from what the table holds.

    @register("probe", "length")
    def length(name: str, role: Role, *, task: Task, n: Count | None = None) -> Probe: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from scalpel.binding.bind import Key, bounded, checked_table, keys_of, placed
from scalpel.binding.plain import shown
from scalpel.registry import lookup

Function = Callable[..., Any]
Find = Callable[[str, str, str], Any]  # an axis, a name, and what a message calls it → what is registered there


class Maker(NamedTuple):
    """A converter from a table's value to an argument of some type, with the annotation that the value must fit."""

    make: Callable[[Any], Any]
    wanted: Any = Any


Makers = Mapping[Any, Maker]


@dataclass(frozen=True)
class Keyed:
    """A function whose arguments depend on data, such as the config of a generator, with the keys of its table."""

    function: Function
    keys: Mapping[str, Key]

    def __call__(self, **arguments: Any) -> Any:
        return self.function(**arguments)


@dataclass(frozen=True)
class BoundTable:
    """A registered function with the arguments that its table gives; `common` are those that every kind has."""

    place: str
    name: str
    function: Function
    common: Mapping[str, Any]
    arguments: Mapping[str, Any]

    def __call__(self, **handed: Any) -> Any:
        """Calls the function with the arguments of the table and with those of `handed` that are in its signature."""
        taken = handed_to(self.function)
        with placed(self.place):
            return self.function(**{k: v for k, v in handed.items() if k in taken}, **self.arguments)


def bind_table(
    axis: str,
    place: str,
    table: Any,
    *,
    named: str = "kind",
    unless: str | None = None,
    common: Mapping[str, Key] | None = None,
    makers: Makers | None = None,
    numbers: Mapping[Any, Any] | None = None,
    find: Find = lookup,
) -> BoundTable:
    """The table with its keys checked. The key `named` has the name under which the function is registered in `axis`,
    `unless` where it is left out. `common` are keys that the caller reads itself, `numbers` the bounds of numbers whose
    annotation gives none."""
    if not isinstance(table, Mapping):
        raise ValueError(f"{place} is {shown(table)}, but must be a table")
    name = table.get(named, unless)
    if named not in table and unless is None:
        raise ValueError(f"{place} has no {named}: it must be text, the one under which a {axis} is registered")
    if not isinstance(name, str):
        raise ValueError(f"{place}.{named} is {shown(name)}, but must be text")
    with placed(place):
        function = find(axis, name, f"kind of {axis}" if named == "kind" else axis)
    common, makers = {named: Key(str, unless), **(common or {})}, makers or {}
    own = table_keys(function)
    made = {key: maker for key, k in own.items() if (maker := maker_of(k.wanted, makers))}
    keys = {key: Key(bounded(k.wanted, numbers or {}), k.default) for key, k in own.items()}
    keys |= {key: Key(maker.wanted, own[key].default) for key, maker in made.items()}
    values = checked_table(place, table, {**common, **keys})
    for key in made.keys() & values.keys():
        with placed(f"{place}.{key}", known=key):
            values[key] = made[key].make(values[key])
    arguments = {key: values.pop(key) for key in own if key in values}
    return BoundTable(place, name, function, values, arguments)


def table_keys(function: Function) -> dict[str, Key]:
    """The keys of a table that goes to this function: its keyword-only arguments."""
    if isinstance(function, Keyed):
        return dict(function.keys)
    return keys_of(function, without=handed_to(function))


def handed_to(function: Function) -> frozenset[str]:
    """The arguments of a function that the program hands over."""
    if isinstance(function, Keyed):
        return frozenset()
    parameters = inspect.signature(function).parameters.values()
    return frozenset(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)


def maker_of(wanted: Any, makers: Makers) -> Maker | None:
    return next((maker for kind, maker in makers.items() if kind in (wanted, *get_args(wanted))), None)
