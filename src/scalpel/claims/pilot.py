"""The pilot of a claim: each arm's learning rate, the arms that stand for a `best`, and the regime checks, all on seeds
that no test uses.

Every arm tries as many learning rates as any other, on tuning items, in each pilot seed (experiments/tuning.py); the
accuracies are averaged over seeds. The arm that sets the budget sets it in the first pilot seed, for all runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scalpel.claims.by_seed import arms_needed, found, load_seed, pair_of, rows_of
from scalpel.claims.claim import Claim
from scalpel.claims.judge import checked
from scalpel.claims.number import Number, named
from scalpel.claims.seeds import Experiment, of_seed, run_seeds
from scalpel.experiments.arm import Arm
from scalpel.experiments.tuning import Trial, Tuning, best_rate, tuned
from scalpel.experiments.workers import WorkerPool

CHECKS = ("regime_checks",)


@dataclass(frozen=True)
class Pilot:
    """The `pilot` table of result.json: chosen arms, rates, budget and regime checks."""

    seeds: list[int]
    budget: Mapping[str, Any] | None
    trials: list[dict[str, Any]]  # arm, seed, learning rate, accuracy
    rates: Mapping[str, float]
    chosen: Mapping[str, str]  # what a `best` is of, in words → the arm
    compared: Mapping[str, Mapping[str, list[float | None]]]  # the same → the number of each arm in each pilot seed
    checks: list[dict[str, Any]]

    @property
    def holds(self) -> bool:
        return all(check["holds"] for check in self.checks)


def gridded(arms: Sequence[Arm], grid: Sequence[float]) -> list[Arm]:
    """The arms with the grid of learning rates: multiples of each arm's own."""
    if not grid:
        return list(arms)
    return [replace(arm, rates=tuple(factor * arm.recipe.stages[-1].learning_rate for factor in grid)) for arm in arms]


def run_pilot(claim: Claim, arms: Sequence[Arm], folder: Path, pool: WorkerPool) -> Pilot:
    """Runs what is missing of the pilot in that folder. Raises ValueError where an arm fails, since nothing could be
    compared with it."""
    spec = claim.statement.pilot
    tunings = tuned_in(claim, arms, folder, pool)
    budget = next(iter(tunings.values())).budget
    rates = rates_of(claim, arms, [trial for tuning in tunings.values() for trial in tuning.trials])
    pending = [side for _, one in claim.statement.contrasts() for n in one.numbers for side in n.terms() if side.best]
    asked = {arm for side in pending for arm in side.best} | set(arms_needed(claim, None, CHECKS))
    names = [arm.name for arm in arms if arm.name in asked]
    if names:
        experiment = Experiment(claim, tuple(arms), rates, budget, folder)
        run_seeds(experiment, names, spec.seeds, pool)
    runs = {seed: load_seed(folder, names, seed) or {} for seed in spec.seeds} if names else {}
    compared = {named(side): numbers_of(side, runs) for side in pending}
    chosen = {words: greatest(words, numbers) for words, numbers in compared.items()}
    trials = [
        {"arm": t.arm, "seed": seed, "learning_rate": t.learning_rate, "accuracy": t.accuracy}
        for seed, tuning in tunings.items()
        for t in tuning.trials
    ]
    return Pilot(spec.seeds, budget, trials, rates, chosen, compared, regime(claim, chosen, runs))


def tuned_in(claim: Claim, arms: Sequence[Arm], folder: Path, pool: WorkerPool) -> dict[int, Tuning]:
    """The tuning in each pilot seed."""
    compare, tunings = claim.recipe.compare, dict[int, Tuning]()
    assert compare is not None, "a claim is read only if its recipe compares something"
    for seed in claim.statement.pilot.seeds:
        place = folder / f"tuning-{seed}"
        place.mkdir(parents=True, exist_ok=True)
        own = [replace(arm, recipe=of_seed(arm.recipe, seed, claim.statement.sampling.items)) for arm in arms]
        tunings[seed] = tuned(compare.model_copy(update={"tuning_seed": seed}), own, place, pool)
        if failed := tunings[seed].failed:
            raise ValueError("; ".join(f"arm {name!r}: {why}" for name, why in failed.items()))
        if budget := tunings[seed].budget:
            compare = compare.model_copy(update={"amount": budget["amount"]})
    return tunings


def rates_of(claim: Claim, arms: Sequence[Arm], trials: Sequence[Trial]) -> dict[str, float]:
    """Each arm's learning rate, chosen by the accuracy over all pilot seeds. A rate that failed in one of them is not
    taken."""
    assert claim.recipe.compare is not None, "a claim is read only if its recipe compares something"
    margin, seeds, mean = claim.recipe.compare.tuning_margin, len(claim.statement.pilot.seeds), []
    for arm in arms:
        for rate in arm.rates:
            own = [t.accuracy for t in trials if t.arm == arm.name and t.learning_rate == rate]
            if len(own) == seeds and len(arm.rates) > 1:
                mean.append(Trial(arm.name, rate, sum(own) / seeds, {}))
        if len(arm.rates) > 1 and not any(t.arm == arm.name for t in mean):
            raise ValueError(f"arm {arm.name!r} has no learning rate that works in all pilot seeds: change its grid")
    return {arm.name: best_rate(arm.name, arm.rates, mean, margin) for arm in arms}


def numbers_of(side: Number, runs: Mapping[int, Any]) -> dict[str, list[float | None]]:
    """The number of each arm of a `best`, in each pilot seed."""
    return {arm: [found(replace(side, arm=arm, best=()), [of]) for of in runs.values()] for arm in side.best}


def greatest(words: str, numbers: Mapping[str, Sequence[float | None]]) -> str:
    """The arm whose number is greatest on average, among those that have it in all pilot seeds."""
    whole = {arm: [x for x in own if x is not None] for arm, own in numbers.items()}
    means = {arm: sum(own) / len(own) for arm, own in whole.items() if own and len(own) == len(numbers[arm])}
    if not means:
        raise ValueError(f"{words}: none of the arms has it in all pilot seeds, so none can be chosen")
    return max(means, key=lambda arm: means[arm])


def regime(claim: Claim, chosen: Mapping[str, str], runs: Mapping[int, Any]) -> list[dict[str, Any]]:
    """The regime checks on the pilot seeds."""
    rows = rows_of(claim, chosen, CHECKS)
    for row, check in zip(rows, claim.statement.regime_checks, strict=True):
        row["numbers"] = {str(seed): pair_of(check, chosen, [of]) for seed, of in runs.items()}
    return [checked(row, list(runs)) for row in rows]
