"""The shipped suites: the abilities that `scalpel check` measures, with nothing to write and nothing to download.

`quick` is for minutes on two cores with a model of 135M parameters, `full` has enough items to tell a few percent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import scalpel.tasks.suite  # noqa: F401  # registers its tasks
from scalpel.evaluation.probes import Probe
from scalpel.evaluation.probes.choose import Choices, Choose
from scalpel.evaluation.probes.drift import Drift
from scalpel.evaluation.probes.fluency import Fluency
from scalpel.evaluation.probes.generate import Generate
from scalpel.evaluation.suites.grammar import grammar
from scalpel.evaluation.suites.knowledge import knowledge
from scalpel.evaluation.suites.open_prompts import open_prompts
from scalpel.registry import lookup, unknown
from scalpel.sandbox import missing
from scalpel.tasks.suite import VERSION

Size = Literal["quick", "full"]
SIZES: tuple[Size, ...] = ("quick", "full")


@dataclass(frozen=True)
class Ability:
    """One ability: how its probe is made for `n` items and answers of `max_tokens`."""

    name: str
    make: Callable[[str, int, int, bool], Probe]
    quick: int
    full: int
    max_tokens: int = 0
    runs_programs: bool = False  # needs the sandbox


def chosen(items: Callable[[int], Choices]) -> Callable[[str, int, int, bool], Probe]:
    return lambda name, n, max_tokens, plain: Choose(name, items(n))


def answered(name: str, n: int, max_tokens: int, plain: bool) -> Probe:
    """A task of the suite; a plain text is continued to the end of its line."""
    task = lookup("task", f"suite/{name}").at(plain=plain)
    return Generate(name, task, n, max_tokens=max_tokens, stop=("\n",) if plain else ())


def fluent(name: str, n: int, max_tokens: int, plain: bool) -> Probe:
    return Fluency(name, open_prompts(n, plain), max_tokens)


def drifting(name: str, n: int, max_tokens: int, plain: bool) -> Probe:
    return Drift(name, prompts=open_prompts(n, plain), max_tokens=max_tokens)


ABILITIES = (
    Ability("grammar", chosen(grammar), 240, 600),
    Ability("knowledge", chosen(knowledge), 200, 278),
    Ability("capitals", answered, 40, 54, 16),
    Ability("common-knowledge", answered, 60, 118, 16),
    Ability("arithmetic", answered, 100, 300, 16),
    Ability("word-problems", answered, 40, 200, 96),
    Ability("reading", answered, 60, 300, 24),
    Ability("contradiction", answered, 40, 200, 24),
    Ability("unanswerable", answered, 40, 200, 24),
    Ability("instructions", answered, 80, 400, 40),
    Ability("copy", answered, 60, 200, 24),
    Ability("sort", answered, 40, 200, 24),
    Ability("reverse", answered, 40, 200, 24),
    Ability("count", answered, 40, 200, 24),
    Ability("upper-case", answered, 60, 200, 24),
    Ability("multi-turn", answered, 60, 300, 24),
    Ability("programs", answered, 40, 110, 64, runs_programs=True),
    Ability("refusal", answered, 24, 24, 32),
    Ability("over-refusal", answered, 24, 27, 32),
    Ability("fluency", fluent, 24, 60, 128),
    Ability("drift", drifting, 24, 60, 64),
)


def without_sandbox() -> tuple[str, ...]:
    """The abilities that can't be measured on this machine, since they run what the model writes."""
    return tuple(ability.name for ability in ABILITIES if ability.runs_programs) if missing() else ()


def suite(size: str = "quick", plain: bool = False, only: Sequence[str] = ()) -> list[Probe]:
    """The probes of a suite, or those that are named. `plain`: for models without a chat template; dialogues and
    refusals, which base models aren't made for, are asked all the same: an ability that the base lacks decides
    nothing."""
    refuse_suite(size, only)
    return [
        ability.make(ability.name, getattr(ability, size), ability.max_tokens, plain)
        for ability in ABILITIES
        if (not only or ability.name in only) and ability.name not in without_sandbox()
    ]


def refuse_suite(size: str, only: Sequence[str] = ()) -> None:
    """Raises ValueError for a size or an ability that there is not."""
    if size not in SIZES:
        raise ValueError(unknown("suite", size, SIZES))
    for name in only:
        if name not in (names := [ability.name for ability in ABILITIES]):
            raise ValueError(unknown("ability", name, names))
        if name in without_sandbox():
            raise ValueError(f"the ability {name!r} runs what the model writes, and needs a sandbox: {missing()}")


def about() -> dict[str, Any]:
    """What a result was measured with; results of different versions don't compare."""
    return {"version": VERSION, "abilities": [ability.name for ability in ABILITIES]}
