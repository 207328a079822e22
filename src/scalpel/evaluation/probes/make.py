"""Probes from the tables of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scalpel.binding.bind import (
    Key,
    bound_table,
    bounded,
    checked_value,
    keys_of,
    placed,
)
from scalpel.binding.bounds import (
    Count,
    Few,
    Name,
    Seed,
    Temperature,
    Tokens,
)
from scalpel.binding.plain import shown
from scalpel.data.example import (
    Prompt,
    Split,
    Task,
    asked,
)
from scalpel.evaluation.probes.choose import Choose, read_choices
from scalpel.evaluation.probes.drift import Drift
from scalpel.evaluation.probes.generate import Generate
from scalpel.evaluation.probes.given import Given
from scalpel.evaluation.probes.item import Probe, Role
from scalpel.evaluation.probes.revised import Revised
from scalpel.evaluation.probes.sampled import Sampled
from scalpel.registry import AXES, unknown
from scalpel.runs.files import file_names

ALONE = 256  # tokens of an answer where neither a probe nor a stage says
ANSWERED = ("generate", "revised", "sampled")  # kinds that the model answers in its own words
MakeTask = Callable[[Any], Task]


def make_probes(
    specs: Sequence[Mapping[str, Any]],
    target: str,
    make_task: MakeTask,
    max_tokens: int = ALONE,
    place: str = "measure.probes",
) -> list[Probe]:
    """A probe for each table; the one named `target` (the first, where that is empty) shows the gain. Answers of those
    that say nothing of it may have `max_tokens`."""
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
    return [make_probe(spec, roles[k], make_task, max_tokens, f"{place}.{k}") for k, spec in enumerate(specs)]


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


def make_probe(
    spec: Mapping[str, Any], role: Role, make_task: MakeTask, max_tokens: int = ALONE, place: str = "probe"
) -> Probe:
    """`{name, kind, …}`; `kind` is "generate" unless said. `task` is what `make_task` understands.

    generate  task, n, split, seed, max_tokens, stop
    choose    path of a JSONL file, n, seed, normalise
    given     task, n, split, seed
    drift     texts, or prompts, or a task whose prompts are taken (n, split, seed); max_tokens
    revised   as generate; turns, again, oracle
    sampled   task, of, n, k, split, seed, max_tokens, temperature, stop, pattern
    """
    found = bound_table(place, spec, {"name": Key(Name), "kind": Key(str, "generate"), **keys_at(place, spec)})
    name, kind = found.pop("name"), found.pop("kind", "generate")
    if "task" in found:
        with placed(f"{place}.task", known="task"):
            found["task"] = make_task(found["task"])
    if kind in ANSWERED:
        found.setdefault("max_tokens", max_tokens)
    with placed(place):
        return MAKERS[kind](name, role, found)


def keys_at(place: str, spec: Any) -> dict[str, Key]:
    """The keys that a probe of this kind has."""
    kind = spec.get("kind", "generate") if isinstance(spec, Mapping) else "generate"
    if not isinstance(kind, str):
        raise ValueError(f"{place}.kind is {shown(kind)}, but must be text")
    if kind not in AXES["probe"]:
        raise ValueError(f"{place}: {unknown('kind', kind, AXES['probe'])}")
    return {key: Key(bounded(k.wanted, NUMBERS.get(key, {})), k.default) for key, k in KEYS[kind].items()}


def generate(name: str, role: Role, found: dict[str, Any]) -> Probe:
    task = needed(name, found, "task")
    return Generate(name, task, role=role, **found | {"stop": tuple(found.get("stop", ()))})


def revised(name: str, role: Role, found: dict[str, Any]) -> Probe:
    task = needed(name, found, "task")
    return Revised(name, task, role=role, **found | {"stop": tuple(found.get("stop", ()))})


def choose(name: str, role: Role, found: dict[str, Any]) -> Probe:
    items = read_choices(needed(name, found, "path"), found.get("n"), found.get("seed", 0))
    return Choose(name, items, normalise=found.get("normalise", False), role=role)


def given(name: str, role: Role, found: dict[str, Any]) -> Probe:
    task = needed(name, found, "task")
    return Given(name, tuple(asked(task, found.get("split", "test"), found.get("n"), found.get("seed", 0), 200)), role)


def drift(name: str, role: Role, found: dict[str, Any]) -> Probe:
    prompts: tuple[Prompt, ...] = tuple(found.get("prompts", ()))
    if task := found.get("task"):
        items = asked(task, found.get("split", "test"), found.get("n"), found.get("seed", 0), 64)
        prompts += tuple(example.prompt for example in items)
    rest = {key: found[key] for key in ("max_tokens", "seed") if key in found}
    return Drift(name, tuple(found.get("texts", ())), prompts, role=role, **rest)


def sampled(name: str, role: Role, found: dict[str, Any]) -> Probe:
    task = needed(name, found, "task")
    return Sampled(name, task, role=role, **found | {"stop": tuple(found.get("stop", ()))})


def needed(name: str, found: dict[str, Any], key: str) -> Any:
    if key not in found:
        raise ValueError(f"probe {name!r} has no {key!r}, from which its items would come; add it")
    return found.pop(key)


HANDED = ("name", "role", "ids", "kept", "examples", "items")
NUMBERS: dict[str, dict[Any, Any]] = {  # their bounds
    "n": {int: Count}, "k": {int: Few}, "turns": {int: Few}, "seed": {int: Seed}, "max_tokens": {int: Tokens},
    "temperature": {float: Temperature},
}  # fmt: skip
TASK = {"task": Key(Any)}
SOME = {"n": Key(Count | None, None), "split": Key(Split, "test"), "seed": Key(Seed, 0)}
KEYS: dict[str, dict[str, Key]] = {
    "generate": keys_of(Generate, without=HANDED) | TASK,
    "revised": keys_of(Revised, without=HANDED) | TASK,
    "choose": keys_of(read_choices) | {"path": Key(str), "normalise": Key(bool, False)},
    "given": SOME | TASK,
    "drift": keys_of(Drift, without=HANDED) | SOME | {"task": Key(Any, None)},
    "sampled": keys_of(Sampled, without=HANDED) | TASK,
}
MAKERS: dict[str, Callable[[str, Role, dict[str, Any]], Probe]] = {
    "generate": generate,
    "revised": revised,
    "choose": choose,
    "given": given,
    "drift": drift,
    "sampled": sampled,
}
