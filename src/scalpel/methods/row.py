"""A row of the table of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """What shows that a row computes what its paper says: in words, and the tests that hold it, each as
    `file::function` within the folder `tests`."""

    words: str
    tests: tuple[str, ...] = ()


PAPER_ONLY = Evidence("paper only")


def equal_to(whose: str, what: str, *tests: str) -> Evidence:
    """The code of others gives the same: `whose` code, and `what` is equal."""
    return Evidence(f"equal to {whose}: {what}", tests)


def by_hand(what: str, *tests: str) -> Evidence:
    """The paper's formula, written out plainly in a test, gives the same; `what` is equal."""
    return Evidence(f"arithmetic by hand: {what}", tests)


@dataclass(frozen=True)
class Row:
    """A published method: its title, its citation, and its stage with the keys of a recipe; `before` and `after` are
    the stages that the paper has around it, in order; `evidence` is what shows that it is that method."""

    title: str
    cite: str
    stage: Mapping[str, Any]
    before: Sequence[Mapping[str, Any]] = ()
    after: Sequence[Mapping[str, Any]] = ()
    evidence: Evidence = PAPER_ONLY


# The rate of policy gradients: constant after a short warm-up, as in verl (`warmup_style: constant`) and in TRL's
# asynchronous GRPO. A row has it, too, where neither the paper nor its authors' code names a schedule.
STEADY: Mapping[str, Any] = {"learning_rate": 1e-6, "schedule": "constant"}


def one(source: Any, credit: list[Any], objective: Any, **more: Any) -> list[dict[str, Any]]:
    """The `signals` of a stage with a single signal."""
    return [{"source": source, "credit": credit, "objective": objective, **more}]
