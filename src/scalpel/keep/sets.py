"""Keep sets: what must not be lost, ability by ability, scored without a word generated but for the last kind.

answers   an item is kept while every token of its answer is the model's first choice
tokens    the same, token by token, for long texts, of which no model would get every one; only tokens of which the
          base is `sure`: among several that are as likely the first choice changes with any step, and nothing is lost
choose    a minimal pair or a multiple choice is kept while the right choice is the likeliest
solved    an item is kept while what the model writes for it, greedily, is right by the task's own measure: where there
          are several ways to be right
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from random import Random
from typing import Any, TypeVar

from scalpel.binding.bind import Key, bound_table, keys_of
from scalpel.binding.bounds import (
    Count,
    Name,
    Seed,
    Share,
)
from scalpel.binding.bounds import Tokens as Length
from scalpel.data.example import (
    Example,
    Task,
    answered,
    named,
)
from scalpel.data.example import asked as taken
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine
from scalpel.evaluation.probes import (
    Choice,
    Choose,
    Drift,
    Generate,
    Given,
    Probe,
    Sampled,
    read_choices,
)
from scalpel.evaluation.probes.item import prompt_text
from scalpel.evaluation.probes.make import names_of
from scalpel.registry import unknown

MakeTask = Callable[[Any], Task]
Row = tuple[list[int], list[int]]
Item = TypeVar("Item")


class Ability(ABC):
    """Something the base can do, as items of one or more yes-or-no units."""

    name: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def flags(self, engine: Engine, chosen: Sequence[int]) -> list[list[bool]]:
        """For each chosen item, which of its units the model gets right."""

    def known(self, base: Engine) -> list[list[bool]]:
        """For each item, which of its units are to be kept: those that the base gets right."""
        return self.flags(base, range(len(self)))


@dataclass(frozen=True)
class Answers(Ability):
    """Prompts with answers; a unit is an item, or each token of its answer, known by a base that is `sure` of it."""

    name: str
    rows: tuple[Row, ...]
    by_token: bool = False
    sure: float = 0.0

    def __len__(self) -> int:
        return len(self.rows)

    def flags(self, engine: Engine, chosen: Sequence[int]) -> list[list[bool]]:
        firsts = engine.first_choices([self.rows[i] for i in chosen])
        return firsts if self.by_token else [[all(first)] for first in firsts]

    def known(self, base: Engine) -> list[list[bool]]:
        flags = super().known(base)
        if not self.sure:
            return flags
        pairs = zip(flags, base.logps(self.rows), strict=True)
        return [[f and logp >= log(self.sure) for f, logp in zip(*item, strict=True)] for item in pairs]


@dataclass(frozen=True)
class Solved(Ability):
    """Prompts that the model answers in its own words; a unit is an item."""

    name: str
    probe: Generate
    examples: tuple[Example, ...]

    def __len__(self) -> int:
        return len(self.examples)

    def flags(self, engine: Engine, chosen: Sequence[int]) -> list[list[bool]]:
        asked = [self.examples[i] for i in chosen]
        said = self.probe.answers(engine, asked)
        return [[self.probe.task.score(one.text, example) >= 1.0] for one, example in zip(said, asked, strict=True)]


@dataclass(frozen=True)
class Pairs(Ability):
    """Choices by log-probability."""

    name: str
    probe: Choose

    def __len__(self) -> int:
        return len(self.probe.items)

    def flags(self, engine: Engine, chosen: Sequence[int]) -> list[list[bool]]:
        ids = [self.probe.items[i].id for i in chosen]
        right = {result.id: bool(result.right) for result in self.probe.only(ids).run(engine)}
        return [[right[id]] for id in ids]


def make_sets(
    specs: Sequence[Mapping[str, Any]],
    tokens: Tokens,
    make_task: MakeTask,
    probes: Iterable[Probe] = (),
    max_tokens: int = 64,
) -> list[Ability]:
    """An ability for each table `{name, kind, …}`; `kind` is "answers" unless said.

        answers           task, n, seed; items come from the task's keep split
        tokens            the same, and sure: the least probability that the base gives a token, 0.5 unless said
        solved            the same as answers, and max_tokens, else that of the stages: `max_tokens`
        choose            path of a JSONL file, n, seed, normalise

    Items that one of the ledger's `probes` asks too are left out, so that what steers never measures.
    """
    refuse_sets(specs)
    asked = {question for probe in probes for question in asked_by(probe)}
    return [make_set(spec, tokens, make_task, asked, max_tokens) for spec in specs]


def refuse_sets(specs: Sequence[Mapping[str, Any]]) -> None:
    """Refuses tables that can be no keep sets, before anything is opened."""
    if not specs:
        raise ValueError(
            'a floor needs a keep set: add [[keep.sets]] tables, as in {name = "facts", task = {name = "world/facts"}} '
            'or {name = "grammar", kind = "choose", path = "blimp.jsonl"}'
        )
    names = names_of(specs, "keep.sets")
    if len(set(names)) < len(names):
        raise ValueError(f"the keep sets are named {names}: give each a name of its own")
    for k, spec in enumerate(specs):
        place, kind = f"keep.sets.{k}", spec.get("kind", "answers")
        if not isinstance(kind, str) or kind not in KEYS:
            raise ValueError(f"{place}: {unknown('kind', str(kind), KEYS)}")
        bound_table(place, spec, {"name": Key(Name), "kind": Key(str, "answers"), **KEYS[kind]})


def asked_by(probe: Probe) -> Iterator[Hashable]:
    """What a probe of the ledger asks, item by item."""
    if isinstance(probe, Choose):
        yield from map(choice_of, probe.items)
    elif isinstance(probe, Generate | Sampled | Given):
        yield from map(question, probe.examples if isinstance(probe, Given) else probe.items())
    elif isinstance(probe, Drift):
        yield from map(prompt_text, probe.prompts)


def question(example: Example) -> str:
    """What an example asks, as text; where it asks nothing, the text itself."""
    asked, text = answered(example)
    return prompt_text(asked) or text


def choice_of(item: Choice) -> Hashable:
    return item.prompt, item.choices


def make_set(
    spec: Mapping[str, Any],
    tokens: Tokens,
    make_task: MakeTask,
    asked: Collection[Hashable] = (),
    max_tokens: int = 64,
) -> Ability:
    """One ability from its table; `asked` are questions that are taken already, `max_tokens` is for answers of which
    the table doesn't say how long they may be."""
    found = dict(spec)
    name, kind = str(found.pop("name")), found.pop("kind", "answers")
    n, seed = found.get("n"), found.get("seed", 0)
    if kind == "choose":
        items = [item for item in read_choices(found["path"]) if choice_of(item) not in asked]
        return Pairs(name, Choose(name, some(name, items, n, seed), normalise=found.get("normalise", False)))
    task = make_task(found["task"])
    examples = taken(task, "keep", n, seed, 256)
    if not examples:
        raise ValueError(f"keep set {name!r}: its task has no items in the split 'keep': give it a share, or a file")
    examples = unasked(name, [example for example in examples if question(example) not in asked])
    if kind == "solved":
        limit = found.get("max_tokens", max_tokens)
        return Solved(name, Generate(name, task, len(examples), "keep", seed, limit), tuple(examples))
    rows = tuple(row(tokens, example, name) for example in examples)
    return Answers(name, rows, by_token=True, sure=found.get("sure", 0.5)) if kind == "tokens" else Answers(name, rows)


def some(name: str, items: list[Choice], n: int | None, seed: int) -> tuple[Choice, ...]:
    """n of the items, drawn by the seed, in their order; all where n is not given."""
    items = unasked(name, items)
    if n is None:
        return tuple(items)
    return tuple(items[i] for i in sorted(Random(seed).sample(range(len(items)), min(n, len(items)))))


def unasked(name: str, items: list[Item]) -> list[Item]:
    """The items that are left once those of the ledger are out."""
    if not items:
        raise ValueError(f"keep set {name!r} has no items but those that the ledger measures: add other items")
    return items


def row(tokens: Tokens, example: Example, name: str) -> Row:
    """Prompt and right answer as ids."""
    if not answered(example)[1]:
        raise ValueError(f"keep set {name!r}: {named(example)} has no completion, answer or assistant's turn")
    return tokens.last(example)


TASK = {"task": Key(Any), "n": Key(Count | None, None), "seed": Key(Seed, 0)}
KEYS: dict[str, dict[str, Key]] = {
    "answers": TASK,
    "tokens": TASK | {"sure": Key(Share, 0.5)},
    "solved": TASK | {"max_tokens": Key(Length, 64)},
    "choose": keys_of(read_choices) | {"path": Key(str), "normalise": Key(bool, False)},
}
