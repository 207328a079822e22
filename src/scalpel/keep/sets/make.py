"""Keep sets from the tables of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scalpel.binding.table import BoundTable, Makers
from scalpel.data.tokenizer import Tokens
from scalpel.evaluation.probes import Probe
from scalpel.evaluation.probes.make import MakeTask, bound_of_kind, makers, names_of
from scalpel.keep.sets.ability import Ability


def make_sets(
    specs: Sequence[Mapping[str, Any]],
    tokens: Tokens,
    make_task: MakeTask,
    probes: Iterable[Probe] = (),
    max_tokens: int = 64,
) -> list[Ability]:
    """One ability per table `{name, kind, …}`; the default of `kind` is "answers". `max_tokens` is the default of the
    key of that name. Items that one of the ledger's `probes` asks, too, are left out: training steers by the keep sets,
    so the ledger must not measure on their items."""
    bound = bound_sets(specs, makers(make_task))
    measured = {question for probe in probes for question in probe.questions()}
    handed = {"tokens": tokens, "measured": measured, "answer_tokens": max_tokens}
    return [one(name=one.common["name"], **handed) for one in bound]


def refuse_sets(specs: Sequence[Mapping[str, Any]], make_task: MakeTask | None = None) -> None:
    """Raises ValueError for invalid [[keep.sets]] tables; with `make_task`, their tasks and files are checked, too."""
    bound_sets(specs, makers(make_task) if make_task else makers(lambda table: table, lambda path: path))


def bound_sets(specs: Sequence[Mapping[str, Any]], made_by: Makers) -> list[BoundTable]:
    """The tables, checked, with their tasks made and their files read."""
    if not specs:
        raise ValueError(
            'a floor needs a keep set: add [[keep.sets]] tables, as in {name = "facts", task = {name = "world/facts"}} '
            'or {name = "grammar", kind = "choose", path = "blimp.jsonl"}'
        )
    names = names_of(specs, "keep.sets")
    if len(set(names)) < len(names):
        raise ValueError(f"the keep sets are named {names}: give each a name of its own")
    return [bound_of_kind("keep set", spec, f"keep.sets.{k}", "answers", made_by) for k, spec in enumerate(specs)]
