"""Probes from the tables of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scalpel.example import Prompt, Task, asked
from scalpel.measure.probes.choose import Choose, read_choices
from scalpel.measure.probes.drift import Drift
from scalpel.measure.probes.generate import Generate
from scalpel.measure.probes.given import Given
from scalpel.measure.probes.item import Probe, Role
from scalpel.measure.probes.revised import Revised
from scalpel.measure.probes.sampled import Sampled
from scalpel.registry import AXES, unknown

ALONE = 256  # tokens of an answer where neither a probe nor a stage says
ANSWERED = ("generate", "revised", "sampled")  # kinds that the model answers in its own words
MakeTask = Callable[[Any], Task]


def make_probes(
    specs: Sequence[Mapping[str, Any]], target: str, make_task: MakeTask, max_tokens: int = ALONE
) -> list[Probe]:
    """A probe for each table; the one named `target` (the first, where that is empty) shows the gain. Answers of those
    that say nothing of it may have `max_tokens`."""
    if not specs:
        raise ValueError("there is no probe, so nothing could be measured; add a [[measure.probes]] table")
    names = [str(spec.get("name", "")) for spec in specs]
    target = target or names[0]
    if target not in names:
        raise ValueError(f"measure.target: {unknown('probe', target, names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"two probes share a name in {names}; the ledger keeps one file a name, so rename one")
    roles: list[Role] = ["target" if spec.get("name") == target else "keep" for spec in specs]
    return [make_probe(spec, role, make_task, max_tokens) for spec, role in zip(specs, roles, strict=True)]


def make_probe(spec: Mapping[str, Any], role: Role, make_task: MakeTask, max_tokens: int = ALONE) -> Probe:
    """`{name, kind, …}`; `kind` is "generate" unless said. `task` is what `make_task` understands.

    generate  task, n, split, seed, max_tokens, stop
    choose    path of a JSONL file, n, seed, normalise
    given     task, n, split, seed
    drift     texts, or prompts, or a task whose prompts are taken (n, split, seed); max_tokens
    revised   as generate; turns, again, oracle
    sampled   task, of, n, k, split, seed, max_tokens, temperature, stop, pattern
    """
    found = dict(spec)
    name, kind = found.pop("name", ""), found.pop("kind", "generate")
    if not name:
        raise ValueError(f"the probe {dict(spec)} has no name; add one, the ledger file is called by it")
    if kind not in AXES["probe"]:
        raise ValueError(f"probe {name!r}: {unknown('kind', kind, AXES['probe'])}")
    known = KEYS[kind]
    for key in found:
        if key not in known:
            raise ValueError(f"probe {name!r}: {unknown('key', key, known)}")
    if "task" in found:
        found["task"] = make_task(found["task"])
    if kind in ANSWERED:
        found.setdefault("max_tokens", max_tokens)
    return MAKERS[kind](name, role, found)


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


ITEMS = {"task", "n", "split", "seed"}
KEYS: dict[str, set[str]] = {
    "generate": ITEMS | {"max_tokens", "stop"},
    "revised": ITEMS | {"max_tokens", "stop", "turns", "again", "oracle"},
    "choose": {"path", "n", "seed", "normalise"},
    "given": ITEMS,
    "drift": ITEMS | {"texts", "prompts", "max_tokens"},
    "sampled": ITEMS | {"of", "k", "max_tokens", "temperature", "stop", "pattern"},
}
MAKERS: dict[str, Callable[[str, Role, dict[str, Any]], Probe]] = {
    "generate": generate,
    "revised": revised,
    "choose": choose,
    "given": given,
    "drift": drift,
    "sampled": sampled,
}
