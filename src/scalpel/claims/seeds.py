"""Runs the arms of a claim in further seeds. What is finished is kept: every run has a folder of its own, and one that
was interrupted goes on from its checkpoint."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalpel.claims.claim import Claim
from scalpel.config.recipe import Recipe
from scalpel.evaluation.run import ProbeResults
from scalpel.experiments.arm import Arm
from scalpel.experiments.compare import evaluate_base, read_before, run_arm, write_before
from scalpel.experiments.failures import Failure, write_reason
from scalpel.experiments.tuning import with_settings
from scalpel.experiments.workers import WorkerPool, WorkFailed, WorkItem
from scalpel.registry import lookup

log = logging.getLogger("scalpel")


@dataclass(frozen=True)
class Experiment:
    """All that a run needs beside its arm and seed."""

    claim: Claim
    arms: tuple[Arm, ...]
    rates: Mapping[str, float]
    budget: Mapping[str, Any] | None
    folder: Path

    def recipe(self, arm: Arm, seed: int) -> Recipe:
        """The recipe of one run; one thread, so that it comes out alike on any number of workers."""
        own = of_seed(arm.recipe, seed, self.claim.statement.sampling.items)
        return with_settings(own, seed, self.rates[arm.name], self.budget, 1)

    def place(self, arm: Arm, seed: int) -> Path:
        return self.folder / "arms" / arm.name / f"seed-{seed}"


def of_seed(recipe: Recipe, seed: int, items: str) -> Recipe:
    """The recipe with the items of that seed, for training, tuning and measurement, if each seed has its own. Probes
    whose items are given, such as texts and files of choices, have the same in all seeds."""
    if items == "shared":
        return recipe
    probes = [{**p, "seed": p.get("seed", 0) + seed} if draws(p) else p for p in recipe.measure.probes]
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"seed": recipe.data.seed + seed}),
            "measure": recipe.measure.model_copy(update={"probes": probes}),
        }
    )


def draws(probe: Mapping[str, Any]) -> bool:
    """Whether the probe draws its items by a seed."""
    return "seed" in inspect.signature(lookup("probe", probe.get("kind", "generate"))).parameters


def run_seeds(experiment: Experiment, names: Sequence[str], seeds: Sequence[int], pool: WorkerPool) -> None:
    """Runs those arms in those seeds, unless they are finished. Raises an error that names the runs that failed, after
    all others are finished."""
    arms = [arm for arm in experiment.arms if arm.name in names]
    pairs = [(arm, seed) for seed in seeds for arm in arms]
    todo = [pair for pair in pairs if not (experiment.place(*pair) / "summary.json").exists()]
    befores = base_results(experiment, sorted({seed for _, seed in todo}), pool)
    places = [experiment.place(*pair) for pair in todo]
    work = [
        WorkItem(
            f"{arm.name} in seed {seed}",
            run_arm,
            (experiment.recipe(arm, seed), place, befores[seed], {"learning_rate": experiment.rates[arm.name]}),
        )
        for (arm, seed), place in zip(todo, places, strict=True)
    ]
    failures: list[Failure] = []

    def finished(k: int, outcome: Any) -> None:
        if isinstance(outcome, WorkFailed):
            (arm, seed), why = todo[k], write_reason(places[k], outcome)
            failures.append(Failure(arm.name, seed, why, bool(outcome.trace)))
            log.warning("%s failed: %s", failures[-1].run, why)

    pool.run("runs", work, finished)
    if failures:
        raise failed_runs(failures)


def failed_runs(failures: Sequence[Failure]) -> Exception:
    """The error of runs that failed: a claim isn't judged by the others alone, which may be the better ones."""
    reasons = "; ".join(f"{failure.run}: {failure.why}" for failure in failures)
    words = f"without a result: {reasons}. Finished runs are kept; the same command tries these again"
    return RuntimeError(words) if any(failure.fault for failure in failures) else ValueError(words)


def base_results(experiment: Experiment, seeds: Sequence[int], pool: WorkerPool) -> dict[int, ProbeResults]:
    """The probes' results on the base, for each seed's items; all arms of a seed start from the same ones."""
    items = experiment.claim.statement.sampling.items
    places = {s: experiment.folder / "before" / ("all.json" if items == "shared" else f"seed-{s}.json") for s in seeds}
    missing = {place: seed for seed, place in places.items() if not place.exists()}
    alone = experiment.arms[0].recipe.model_copy(update={"threads": 1})
    work = [
        WorkItem(f"evaluating the base on the items of seed {seed}", evaluate_base, (of_seed(alone, seed, items),))
        for seed in missing.values()
    ]
    for place, outcome in zip(missing, pool.run("evaluating the base", work), strict=True):
        if isinstance(outcome, WorkFailed):
            raise outcome.error()
        place.parent.mkdir(parents=True, exist_ok=True)
        write_before(place, outcome)
    return {seed: read_before(place) for seed, place in places.items()}
