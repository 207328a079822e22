"""Each arm's learning rate, from a small stated grid, on tuning items and a tuning seed of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalpel import tasks
from scalpel.crew import Report
from scalpel.job import Job, StageRun
from scalpel.measure import make_probes
from scalpel.recipe import BudgetSpec, Recipe
from scalpel.train import Progress, share_done, train

Budget = Mapping[str, Any]  # {"unit": "flops" | "tokens" | "seconds", "amount": …}


@dataclass(frozen=True)
class Trial:
    """One arm at one rate: the share of the target's tuning items that it solved, and what the run spent."""

    arm: str
    learning_rate: float
    accuracy: float
    spent: Mapping[str, float]


def with_settings(recipe: Recipe, seed: int, rate: float, budget: Budget | None, threads: int) -> Recipe:
    """The recipe for one run. `rate` is that of the last stage; earlier ones keep their ratio to it. The budget is
    that of the whole run, so the last stage ends when it is spent."""
    factor = rate / recipe.stages[-1].learning_rate
    stages = [s.model_copy(update={"learning_rate": s.learning_rate * factor}) for s in recipe.stages]
    if budget is not None:
        limit = BudgetSpec(unit=budget["unit"], amount=budget["amount"], of="run")
        stages[-1] = stages[-1].model_copy(update={"budget": limit})
    return recipe.model_copy(update={"seed": seed, "stages": stages, "threads": threads})


def following(report: Report) -> Any:
    """A `watch` for the loop that only reports how far it is."""

    def watch(job: Job, stage: StageRun, progress: Progress) -> bool:
        report((progress.stage + min(1.0, share_done(job, stage, progress))) / len(job.plans))
        return False

    return watch


def trial(name: str, recipe: Recipe, items: int, report: Report) -> Trial:
    """Trains an arm and judges it on tuning items."""
    probe = tuning_probe(recipe, items)
    seconds = 0.0

    def tell(record: Mapping[str, Any]) -> None:
        nonlocal seconds
        seconds = record["seconds"]

    job = train(recipe, watch=following(report), tell=tell)
    spent = {unit: job.engine.meter.spent(unit, seconds) for unit in ("flops", "tokens", "seconds")}
    results = probe.run(job.engine, job.engine)
    accuracy = sum(bool(r.right) for r in results) / len(results)
    return Trial(name, recipe.stages[-1].learning_rate, accuracy, spent)


def tuning_probe(recipe: Recipe, items: int) -> Any:
    """The target's probe on items of the tuning split."""
    spec = recipe.measure
    target = next(p for p in spec.probes if not spec.target or p.get("name") == spec.target)
    if target.get("kind", "generate") != "generate":
        raise ValueError(
            f"the target probe {target.get('name')!r} is of kind {target['kind']!r}, but learning rates are chosen by "
            "answers that are right: take a probe of kind 'generate', or give each arm a single learning rate"
        )
    return make_probes([{**target, "split": "tune", "n": items}], "", tasks.make)[0]


def best_rate(name: str, rates: Sequence[float], trials: Sequence[Trial], margin: float) -> float:
    """The least rate whose accuracy is within `margin` of the arm's best: what is gained alike costs less there."""
    own = [t for t in trials if t.arm == name]
    if not own:
        return rates[0]
    top = max(t.accuracy for t in own)
    return min(t.learning_rate for t in own if t.accuracy >= top - margin)


def account(name: str, trials: Sequence[Trial], rate: float) -> dict[str, Any]:
    """What a run's summary says of its tuning."""
    own = [t for t in trials if t.arm == name]
    cost = {unit: sum(t.spent[unit] for t in own) for unit in ("flops", "tokens", "seconds")}
    grid = [{"learning_rate": t.learning_rate, "accuracy": t.accuracy} for t in own]
    return {"learning_rate": rate, "grid": grid, "tuning_cost": cost}
