"""Declarations of a reward in the axis "judge", beside its function.

Such a reward is a function whose keyword-only arguments are the keys of its table, and which returns a `Scoring`. It
may also name the arguments `task` (the recipe's task) and `ask` (a function that asks a model), which the program
passes. A key that is annotated with `Scoring` holds an inner reward, by name or table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalpel.binding.table import table_keys
from scalpel.data.example import Example, Prompt
from scalpel.extensions import find
from scalpel.registry import AXES, register

# (role, prompts, answers) → for each prompt the probability of each answer under the model of that role, normalised
# over the answers
Ask = Callable[[str, Sequence[Prompt], Sequence[str]], list[list[float]]]
Scoring = Callable[[Sequence[Example], Sequence[str], Any], Sequence[float | None]]


@dataclass(frozen=True)
class Judge:
    """A function that makes a `Scoring`, with its declarations.

    concurrent    whether it may run in threads, prompt by prompt, with a time limit: it must not ask a model, and must
                  not compare completions of different prompts
    asks          a function from the keys of its table to the role of the model that it asks
    opens         the key with the folder or hub id of a model that it loads; its files are inputs of the run
    check         raises ValueError for an invalid combination of keys, before any model is loaded
    """

    fn: Callable[..., Scoring]
    concurrent: bool = False
    asks: Callable[[Mapping[str, Any]], str] | None = None
    opens: str = ""
    check: Callable[[Mapping[str, Any]], None] | None = None


def judge_of(name: Any) -> Judge | None:
    """The declarations of the judge of that name, if there is one; those of a plain function are the defaults."""
    found = AXES["judge"].get(name)
    return found if found is None or isinstance(found, Judge) else Judge(found)


def function_of(axis: str, name: str, called: str = "") -> Callable[..., Any]:
    """The function that is registered in an axis, without its declarations."""
    found = find(axis, name, called)
    return found.fn if isinstance(found, Judge) else found  # type: ignore[no-any-return]


def declared(name: str, **declarations: Any) -> Callable[[Callable[..., Scoring]], Callable[..., Scoring]]:
    """Registers a function as the judge of that name, with these declarations."""

    def enter(fn: Callable[..., Scoring]) -> Callable[..., Scoring]:
        register("judge", name)(Judge(fn, **declarations))
        return fn

    return enter


def concurrent(name: Any) -> bool:
    """Whether the reward of that name may run in threads, prompt by prompt."""
    judge = judge_of(name)
    return name not in AXES["shaping"] and (judge is None or judge.concurrent)


def inner_keys(function: Callable[..., Any]) -> list[str]:
    """The keys that hold a reward."""
    return [key for key, known in table_keys(function).items() if known.wanted == Scoring]


def refuse_shaping(spec: str | Mapping[str, Any]) -> None:
    """Raises ValueError if the reward inside another one is a shaping reward, which gives no value by itself."""
    if (name := table_of(spec).get("name")) in AXES["shaping"]:
        raise ValueError(
            f"{name!r} is a shaping reward, which needs the values of other rewards, so it can't be inside one: use a "
            "verifier, 'task', a judge or path.py:function"
        )


def table_of(spec: str | Mapping[str, Any]) -> dict[str, Any]:
    """A reward by its name or table, as a table."""
    return {"name": spec} if isinstance(spec, str) else dict(spec)


def roles(specs: Sequence[Any]) -> frozenset[str]:
    """The roles of the models, other than the policy, that these rewards need."""
    found: set[str] = set()
    for table in (table_of(spec) for spec in specs if isinstance(spec, str | Mapping)):
        if judge := judge_of(table.get("name")):
            keys = table_keys(judge.fn)
            if judge.asks:
                found.add(str(judge.asks({key: table.get(key, known.default) for key, known in keys.items()})))
            found |= roles([table[key] for key in inner_keys(judge.fn) if key in table])
    return frozenset(found - {"policy"})
