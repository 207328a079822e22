"""A number of a claim: a quantity of one arm, as claim.toml says it.

    that = { what = "gain", arm = "sft" }
    that = { what = "gain", best = ["weak", "strong"] }      the arm in which it is greatest on the pilot seeds
    that = { what = "gain", arm = "sft-then-rl", less = { arm = "sft" } }        a difference of two
    that = { what = "gain", tuned = ["slow", "fast"], measured = "tuning seeds" }
    exceeds = { measured = "other seeds" }

With `tuned` the arm is the one of these that is best on `tuned_on` seeds of a block (two unless said), and measured on
these or on the other seeds of the block, on average over all choices of the tuning seeds.

Keys that `less` leaves out are those of the number that it is taken from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import scalpel.claims.quantities  # noqa: F401  (registers the quantities)
from scalpel.binding.bind import Key
from scalpel.binding.table import bind_table
from scalpel.evaluation.number_words import listed
from scalpel.registry import unknown

CHOICES = ("arm", "best", "tuned")  # which arm: one of the three
TUNED = {"tuned_on": Key(int, 2), "measured": Key(Literal["tuning seeds", "other seeds"], "other seeds")}
PICKS = {"arm": Key(str, ""), "best": Key(list[str], []), "tuned": Key(list[str], []), **TUNED}


@dataclass(frozen=True)
class Number:
    """A quantity of one arm. With `best` the arm is the one of these in which the quantity is greatest on the pilot
    seeds, with `tuned` the one that is best on some seeds of a block. `less` is what is subtracted from it."""

    what: str
    arm: str = ""
    best: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()
    tuned_on: int = 2
    measured: str = "other seeds"
    keys: Mapping[str, Any] = field(default_factory=dict)
    less: Number | None = None

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms whose runs it is computed from."""
        return (*(self.best or self.tuned or (self.arm,)), *(self.less.arms if self.less else ()))

    def terms(self) -> Iterator[Number]:
        """The number without `less`, and then what is subtracted."""
        yield replace(self, less=None)
        if self.less:
            yield from self.less.terms()

    def with_choices(self, chosen: Mapping[str, str]) -> Number:
        """The number with the chosen arm in the place of `best`; `chosen` maps `named` of a term to an arm."""
        less = self.less.with_choices(chosen) if self.less else None
        if not self.best:
            return replace(self, less=less)
        return replace(self, arm=chosen[named(replace(self, less=None))], best=(), less=less)


def filled(table: Mapping[str, Any], under: Mapping[str, Any]) -> dict[str, Any]:
    """A number's table; keys that it leaves out are those of `under`, unless it is of another quantity."""
    if table.get("what", under.get("what")) != under.get("what"):
        return dict(table)
    chosen = (*CHOICES, *TUNED) if any(key in table for key in CHOICES) else ()
    return {**{key: value for key, value in under.items() if key not in chosen}, **table}


def number(table: Mapping[str, Any]) -> Number:
    """A number from its table. ValueError for a key that nothing reads, or one that is missing."""
    found = dict(table)
    taken = found.pop("less", None)
    less = None if taken is None else number(filled(taken, found))
    if not isinstance(what := found.get("what"), str):
        raise ValueError(f"{dict(table)} does not say `what` it is a number of, as in what = 'gain'")
    bound = bind_table("quantity", what, found, named="what", common=PICKS)
    own = {key: value for key, value in bound.common.items() if key in PICKS}
    if sum(key in own for key in CHOICES) != 1:
        raise ValueError(f"{dict(table)} needs an `arm`, or the arms of which the `best` or the `tuned` one is taken")
    if "tuned" not in own and (extra := sorted(own.keys() & TUNED.keys())):
        raise ValueError(f"{dict(table)}: {extra[0]} belongs to `tuned`, the arms of which one is tuned")
    said: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in own.items()}
    return Number(what, keys=bound.arguments, less=less, **said)


def refuse_unknown(side: Number, arms: Sequence[str], probes: Sequence[str]) -> None:
    """Refuses a number of an arm or a probe that the recipe doesn't have."""
    for term in side.terms():
        for arm in term.arms:
            if arm not in arms:
                raise ValueError(unknown("arm", arm, arms))
        for key in ("probe", "far", "on"):
            if term.keys.get(key, "") not in ("", *probes):
                raise ValueError(unknown("probe", str(term.keys[key]), probes))


def named(side: Number) -> str:
    """`gain of sft`, `forgetting-at (accuracy 0.6) of the best of a and b`."""
    keys = ", ".join(f"{key} {value}" for key, value in side.keys.items())
    who = side.arm or f"the best of {listed(list(side.best or side.tuned))}"
    if side.tuned:
        where = "these seeds" if side.measured == "tuning seeds" else "others"
        who += f" on {side.tuned_on} seeds, measured on {where}"
    found = f"{side.what}{f' ({keys})' if keys else ''} of {who}"
    return f"({found}, less {named(side.less)})" if side.less else found
