"""What a claim may speak of: numbers of one arm, each with the replicates from which differences get intervals.

A quantity is a function of an arm; its keyword-only arguments are the keys that a claim may give it. Items are
resampled by what they are and seeds by their numbers, so two arms with the same seeds and items are compared in pairs,
and so are two probes of one arm that ask the same items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from inspect import Parameter, signature
from typing import Any, NamedTuple

import numpy as np

from scalpel.evaluation.arm_scores import abilities, targets
from scalpel.evaluation.matched_accuracy import at_level, path
from scalpel.evaluation.results import ArmResults, RunResults, Table
from scalpel.evaluation.statistics import replicates
from scalpel.registry import unknown

POINTS, PERCENT = "points", "%"  # units of shares and of relative sizes: 0.01 is one point, or 1%


class Missing(ValueError):
    """The runs don't hold the number: the arm never got that far, or it was not measured."""


class Measured(NamedTuple):
    """A mean over seeds and items, with its replicates (axis B)."""

    mean: float
    replicates_B: np.ndarray
    seeds: float  # how many it was seen in; a constant is the same in all there are

    def minus(self, other: Measured) -> Measured:
        least = min(self.seeds, other.seeds)
        return Measured(self.mean - other.mean, self.replicates_B - other.replicates_B, least)


Quantity = Callable[..., Measured]
QUANTITIES: dict[str, Quantity] = {}
UNITS: dict[str, str] = {}


def quantity(name: str, unit: str) -> Callable[[Quantity], Quantity]:
    """Decorator: enters a function under the name by which claims ask for it."""

    def enter(fn: Quantity) -> Quantity:
        assert name not in QUANTITIES, f"quantity {name!r} is there twice"
        QUANTITIES[name], UNITS[name] = fn, unit
        return fn

    return enter


Values = tuple[str, np.ndarray, tuple[float, float] | None]  # which items, their values_SI, and the ends of their range


def over(arm: ArmResults, tables: Iterable[Values]) -> Measured:
    """The mean over tables of each table's mean."""
    named = f"numbers {arm.seeds}"
    means, found = [], []
    for items, values_SI, ends in tables:
        means.append(float(values_SI.mean()))
        found.append(replicates(values_SI, seeds_of=named, items_of=items, ends=ends))
    return Measured(float(np.mean(means)), np.mean(found, axis=0), len(arm.runs))


def by_seed(arm: ArmResults, values: Iterable[float | None], what: str) -> Measured:
    """The mean of one number a seed; Missing where a seed has none."""
    found = list(values)
    known = [value for value in found if value is not None]
    if len(known) < len(found):
        raise Missing(f"{arm.name}: {what} in {len(known)} of {len(found)} seeds")
    return over(arm, [("one", np.array(known)[:, None], None)])


def probe_of(arm: ArmResults, name: str, judged: bool = True) -> Table:
    """The arm's table of that probe."""
    if name not in arm.tables:
        raise ValueError(unknown("probe", name, arm.tables))
    table = arm.tables[name]
    if judged and not table.judged:
        raise ValueError(f"probe {name!r} knows no right and wrong: ask for its value, or take a probe that does")
    return table


def items_of(table: Table) -> str:
    """A name that tables with the same items share."""
    return "\n".join(table.ids)


@quantity("gain", POINTS)
def gain(arm: ArmResults, *, probe: str = "") -> Measured:
    """Share right after − before, of the target or of the named probe."""
    found = [probe_of(arm, probe)] if probe else targets(arm)
    return over(arm, [(items_of(t), t.change_SI, (-1.0, 1.0)) for t in found])


@quantity("forgetting", POINTS)
def forgetting(arm: ArmResults, *, probe: str = "") -> Measured:
    """Share lost of what the base knew: mean over old abilities, or of the named probe."""
    found = [probe_of(arm, probe)] if probe else abilities(arm)
    if not found or not all(t.before_I.any() for t in found):
        raise Missing(f"the base knows nothing of {probe or 'any old ability'} that could be lost")
    return over(arm, [(t.probe, t.lost_SK, (0.0, 1.0)) for t in found])


@quantity("forgetting-at", POINTS)
def forgetting_at(arm: ArmResults, *, accuracy: float) -> Measured:
    """Share lost of what the base knew, where the run first reaches that accuracy on the target."""
    asked, old = [t.probe for t in targets(arm)], [t.probe for t in abilities(arm)]
    found = [at_level(path(run, asked, old), accuracy) for run in arm.runs]
    return by_seed(arm, [c.forgetting if c else None for c in found], f"reached {accuracy:.0%} on the target")


@quantity("accuracy", POINTS)
def accuracy(arm: ArmResults, *, probe: str) -> Measured:
    """Share right after training."""
    table = probe_of(arm, probe)
    return over(arm, [(items_of(table), table.after_SI, (0.0, 1.0))])


@quantity("gap", POINTS)
def gap(arm: ArmResults, *, probe: str, far: str) -> Measured:
    """Share right after training on `probe`, less that on `far`: what a shift of the questions costs."""
    return accuracy(arm, probe=probe).minus(accuracy(arm, probe=far))


@quantity("value", "")
def value(arm: ArmResults, *, probe: str) -> Measured:
    """Mean value after training, in the probe's own unit."""
    table = probe_of(arm, probe, judged=False)
    return over(arm, [(items_of(table), table.value_after_SI, None)])


@quantity("before", "")
def before(arm: ArmResults, *, probe: str) -> Measured:
    """Mean value of the base, in the probe's own unit: the same in all seeds."""
    table = probe_of(arm, probe, judged=False)
    return over(arm, [(items_of(table), np.tile(table.value_before_I, (len(arm.runs), 1)), None)])


@quantity("change", "")
def change(arm: ArmResults, *, probe: str) -> Measured:
    """Mean value after training − before, in the probe's own unit."""
    table = probe_of(arm, probe, judged=False)
    return over(arm, [(items_of(table), table.value_change_SI, None)])


@quantity("lock-in", POINTS)
def lock_in(arm: ArmResults, *, probe: str) -> Measured:
    """max(p, 1 − p) of a share p, seed by seed: how far a run has settled on one of two ways, whichever it is."""
    shares = probe_of(arm, probe, judged=False).value_after_SI.mean(axis=1)
    return by_seed(arm, np.maximum(shares, 1 - shares).tolist(), "measured")


@quantity("moved", PERCENT)
def moved(arm: ArmResults, *, components: Sequence[str] = (), layers: Sequence[str] = ()) -> Measured:
    """‖tuned − base‖ / ‖base‖: over all weights, or the mean over these components in these layers."""
    return by_seed(arm, [moved_in(run, components, layers) for run in arm.runs], "weight change is known")


def moved_in(run: RunResults, components: Sequence[str], layers: Sequence[str]) -> float | None:
    table = run.summary.get("weights")
    if table is None:
        return None
    if not components and not layers:
        return float(table["total"]["relative"])
    for kind, asked in (("components", components), ("layers", layers)):
        for name in asked:
            if name not in table[kind]:
                raise ValueError(unknown(kind.removesuffix("s"), name, table[kind]))
    cells = [
        cell
        for component, row in zip(table["components"], table["relative"], strict=True)
        for layer, cell in zip(table["layers"], row, strict=True)
        if cell is not None and (not components or component in components) and (not layers or layer in layers)
    ]
    return sum(cells) / len(cells) if cells else None


@quantity("cost", "")
def cost(arm: ArmResults, *, of: str = "flops") -> Measured:
    """What training spent: flops, seconds, tokens_trained, tokens_sampled or peak_memory_bytes."""
    known = arm.runs[0].summary.get("cost", {})
    if of not in known:
        raise ValueError(unknown("cost", of, known))
    return by_seed(arm, [run.summary.get("cost", {}).get(of) for run in arm.runs], f"{of} known")


@quantity("logged", "")
def logged(arm: ArmResults, *, name: str, last: float = 0.1) -> Measured:
    """Mean of a metric over the last share of the steps; steps that did not log it are left out."""
    if not 0 < last <= 1:
        raise ValueError(f"last = {last}: it is a share of the steps, above 0 and at most 1")
    return by_seed(arm, [mean_of_last(run, name, last) for run in arm.runs], f"{name} logged")


def mean_of_last(run: RunResults, name: str, last: float) -> float | None:
    n = max(1, round(last * len(run.train)))
    values = [line[name] for line in run.train[-n:] if name in line]
    return sum(values) / len(values) if values else None


def schema(name: str) -> dict[str, Any]:
    """The keys of a quantity, each with its default; `...` where it must be given."""
    if name not in QUANTITIES:
        raise ValueError(unknown("quantity", name, QUANTITIES))
    found = [p for p in signature(QUANTITIES[name]).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
    return {p.name: ... if p.default is Parameter.empty else p.default for p in found}
