"""Quantities at equal accuracy on the target, from the evaluations along a run.

A method that learnt less has also changed less, so arms are compared where they have learnt as much. Let a_k be the
accuracy on the target and v_k the value of a probe at evaluation k, both on the same items of the learning curve. With
the monotone fit of a (evaluation/isotonic.py)

  k* = the position at which the fit reaches the accuracy,   value-at = v at k*,   loss-rise-at = v at k* − v at 0

both interpolated linearly. A run whose fit never reaches the accuracy, or starts at or above it, has no such number; it
is counted and named, and no number is put in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

from scalpel.binding.bounds import Share
from scalpel.claims.quantities.measured import by_seed, quantity
from scalpel.evaluation.crossed import Estimate
from scalpel.evaluation.isotonic import crossing, interpolated
from scalpel.evaluation.results import ArmResults, RunResults
from scalpel.registry import unknown

Path = list[tuple[float, float]]  # the level that is to be equal, and the value, at each evaluation of a run


@quantity("value-at", "")
def value_at(arm: ArmResults, *, probe: str, accuracy: Share, on: str = "") -> Estimate:
    """Mean value of a probe, in its own unit, where the run reaches that accuracy on the target; or on the probe `on`:
    its accuracy, or its mean value where it knows no right and wrong, such as a share of samples that are right."""
    return matched(arm, probe, accuracy, on, lambda values, at: interpolated(values, at))


@quantity("loss-rise-at", "")
def loss_rise_at(arm: ArmResults, *, probe: str, accuracy: Share, on: str = "") -> Estimate:
    """Rise of the loss on held-out text above the base's, in nats per token, where the run reaches that accuracy on the
    target or on the probe `on`."""
    return matched(arm, probe, accuracy, on, lambda values, at: interpolated(values, at) - values[0])


def matched(
    arm: ArmResults, probe: str, level: float, on: str, take: Callable[[Sequence[float], float], float]
) -> Estimate:
    found = []
    for run in arm.runs:
        path = path_of(run, probe, on)
        at = crossing([reached for reached, _ in path], level)
        found.append(None if at is None else take([value for _, value in path], at))
    return by_seed(arm, found, f"reached {level:.0%} on {on or 'the target'} from below")


def path_of(run: RunResults, probe: str, on: str) -> Path:
    """Level and value at each evaluation, in order of steps; evaluations without either are left out."""
    levels = [on] if on else [name for name, ledger in run.ledgers.items() if ledger.role == "target"]
    for name in (probe, *levels):
        if name not in run.ledgers:
            raise ValueError(unknown("probe", name, run.ledgers))
    path = []
    for line in sorted(run.probes, key=lambda line: line["step"]):
        value, reached = line.get(f"probe/{probe}/value"), [level_of(line, name) for name in levels]
        if value is not None and isfinite(value) and reached and all(isfinite(level) for level in reached):
            path.append((sum(reached) / len(reached), value))
    return path


def level_of(line: dict[str, float], probe: str) -> float:
    return line.get(f"probe/{probe}/accuracy", line.get(f"probe/{probe}/value", float("nan")))
