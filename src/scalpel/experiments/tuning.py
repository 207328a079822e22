"""Tunes each arm's learning rate on a small stated grid, with tuning items and a tuning seed of their own: a rate that
was chosen on test items would flatter the arm with the larger grid."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalpel import tasks
from scalpel.config.recipe import BudgetSpec, CompareSpec, Recipe
from scalpel.evaluation import make_probes
from scalpel.experiments.failures import write_reason
from scalpel.experiments.workers import Report, WorkerPool, WorkFailed, WorkItem
from scalpel.extensions.modules import begin_run
from scalpel.runs.atomic import write_json
from scalpel.runs.json_files import NUMBER, OPTIONAL_NUMBER, read_json, record_of
from scalpel.training.loop import RunState, share_done, train
from scalpel.training.run import StageRun, TrainingRun

if TYPE_CHECKING:
    from scalpel.experiments.arm import Arm

log = logging.getLogger("scalpel")
TRIAL = {"arm": str, "learning_rate": NUMBER, "accuracy": NUMBER, "spent": {...: OPTIONAL_NUMBER}}
TUNING = {"budget": (dict, type(None)), "trials": [TRIAL], "failed?": {...: str}, "finished?": bool}
Budget = Mapping[str, Any]  # {"unit": "flops" | "tokens" | "seconds", "amount": …}


@dataclass(frozen=True)
class Trial:
    """One arm at one learning rate: its accuracy on the target's tuning items, and the cost of the run."""

    arm: str
    learning_rate: float
    accuracy: float
    spent: Mapping[str, float]


@dataclass
class Tuning:
    """All trials so far, in a file that is written after every trial, so that an interrupt loses none of them."""

    path: Path
    budget: Budget | None = None
    trials: list[Trial] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # arms that fail at every rate, with the reason
    finished: bool = False

    @classmethod
    def at(cls, path: Path) -> Tuning:
        """The tuning that is saved in the file; an empty one if there is none."""
        if not path.exists():
            return cls(path)
        saved = read_json(path, TUNING)
        trials = [record_of(Trial, t, path) for t in saved["trials"]]
        return cls(path, saved["budget"], trials, saved.get("failed", {}), saved.get("finished", True))

    def write(self) -> None:
        trials = [asdict(t) for t in self.trials]
        saved = {"finished": self.finished, "budget": self.budget, "trials": trials, "failed": self.failed}
        write_json(self.path, saved)

    def add(self, trial: Trial) -> None:
        self.trials.append(trial)
        self.write()

    def knows(self, arm: str, rate: float) -> bool:
        return any(t.arm == arm and t.learning_rate == rate for t in self.trials)


def tuned(spec: CompareSpec, arms: Sequence[Arm], folder: Path, pool: WorkerPool) -> Tuning:
    """Runs all trials and fixes the budget. The arm that sets the budget is tried first, for as many steps as its
    recipe says; the most expensive of its trials is the budget of all others. Trials that are saved are not run again,
    except for arms that failed at every rate."""
    tuning = Tuning.at(folder / "tuning.json")
    leaders: list[Arm] = []
    every = arms
    if spec.budget != "steps" and spec.amount is None:
        leaders = [next((arm for arm in arms if arm.name == spec.equal_to), arms[0])]
    if tuning.finished:
        arms = [arm for arm in arms if arm.name in tuning.failed]
    elif spec.budget != "steps":
        amount = spec.amount
        if leaders:
            tried(spec, leaders, tuning, None, pool, "tuning the arm that sets the budget")
            refuse_failed(leaders[0].name, tuning)
            amount = max(t.spent[spec.budget] for t in tuning.trials if t.arm == leaders[0].name)
        tuning.budget = {"unit": spec.budget, "amount": amount}
    rest = [arm for arm in arms if arm not in leaders and len(arm.rates) > 1]
    tried(spec, rest, tuning, tuning.budget, pool, "tuning the learning rates")
    place = {(arm.name, rate): n for n, (arm, rate) in enumerate((arm, rate) for arm in every for rate in arm.rates)}
    tuning.trials.sort(key=lambda t: place[t.arm, t.learning_rate])  # the same file as without an interruption
    tuning.finished = True
    tuning.write()
    return tuning


def refuse_failed(name: str, tuning: Tuning) -> None:
    if name in tuning.failed:
        raise ValueError(
            f"arm {name!r} sets the budget of all others, but {tuning.failed[name]}; name another arm in "
            "compare.equal_to, or set compare.amount"
        )


def tried(
    spec: CompareSpec, arms: Sequence[Arm], tuning: Tuning, budget: Budget | None, pool: WorkerPool, what: str
) -> None:
    """Runs the trials that are missing, of every rate of every arm. A failed trial, such as a rate that diverges, is
    left out; an arm whose trials all fail is recorded in `tuning.failed`."""
    work = []
    for arm in arms:
        for rate in (rate for rate in arm.rates if not tuning.knows(arm.name, rate)):
            recipe = with_settings(arm.recipe, spec.tuning_seed, rate, budget, pool.threads)
            label = f"{arm.name} at the learning rate {rate:g}"
            work.append(WorkItem(label, trial, (arm.name, recipe, spec.tuning_items)))

    def finished(k: int, outcome: Any) -> None:
        if isinstance(outcome, WorkFailed):
            log.warning("%s failed: %s", work[k].label, outcome.words)
        else:
            tuning.add(outcome)

    outcomes = pool.run(what, work, finished)
    for arm in arms:
        tuning.failed.pop(arm.name, None)
        own = [
            o for item, o in zip(work, outcomes, strict=True) if isinstance(o, WorkFailed) and item.args[0] == arm.name
        ]
        if not any(t.arm == arm.name for t in tuning.trials):
            why = write_reason(tuning.path.parent / "arms" / arm.name, own[0])
            tuning.failed[arm.name] = f"it fails at every learning rate of its grid: {why}"


def with_settings(recipe: Recipe, seed: int, rate: float, budget: Budget | None, threads: int) -> Recipe:
    """The recipe of one run. `rate` is the learning rate of the last stage; earlier stages keep their ratio to it. The
    budget is that of the whole run, so the last stage ends when it is spent."""
    factor = rate / recipe.stages[-1].learning_rate
    stages = [s.model_copy(update={"learning_rate": s.learning_rate * factor}) for s in recipe.stages]
    if budget is not None:
        limit = BudgetSpec(unit=budget["unit"], amount=budget["amount"], of="run")
        stages[-1] = stages[-1].model_copy(update={"budget": limit})
    return recipe.model_copy(update={"seed": seed, "stages": stages, "threads": threads})


def following(report: Report) -> Any:
    """A `watch` function for the loop that only reports the progress."""

    def watch(run: TrainingRun, stage: StageRun, state: RunState) -> bool:
        report((state.stage + min(1.0, share_done(run, stage, state))) / len(run.plans))
        return False

    return watch


def trial(name: str, recipe: Recipe, items: int, report: Report) -> Trial:
    """Trains an arm at one learning rate, and measures its accuracy on tuning items."""
    begin_run()
    probe = tuning_probe(recipe, items)
    seconds = 0.0

    def tell(record: Mapping[str, Any]) -> None:
        nonlocal seconds
        seconds = record["seconds"]

    run = train(recipe, watch=following(report), tell=tell)
    spent = {unit: run.engine.meter.spent(unit, seconds) for unit in ("flops", "tokens", "seconds")}
    results = probe.run(run.engine, run.engine)
    accuracy = sum(bool(r.right) for r in results) / len(results)
    return Trial(name, recipe.stages[-1].learning_rate, accuracy, spent)


def tuning_probe(recipe: Recipe, items: int) -> Any:
    """The target probe on items of the split `tune`. Raises ValueError if the target is not of kind "generate"."""
    spec = recipe.measure
    target = next(p for p in spec.probes if not spec.target or p.get("name") == spec.target)
    if target.get("kind", "generate") != "generate":
        raise ValueError(
            f"the target probe {target.get('name')!r} is of kind {target['kind']!r}, but learning rates are chosen by "
            "accuracy: take a probe of kind 'generate', or give each arm a single learning rate"
        )
    return make_probes([{**target, "split": "tune", "n": items}], "", tasks.make, recipe.answer_tokens)[0]


def best_rate(name: str, rates: Sequence[float], trials: Sequence[Trial], margin: float) -> float:
    """The smallest rate whose accuracy is within `margin` of the arm's best: of rates that gain the same, the smallest
    forgets the least. An arm with a single rate has no trials, and takes it."""
    own = [t for t in trials if t.arm == name]
    if not own:
        return rates[0]
    top = max(t.accuracy for t in own)
    return min(t.learning_rate for t in own if t.accuracy >= top - margin)


def account(name: str, trials: Sequence[Trial], rate: float) -> dict[str, Any]:
    """The keys of a run's summary about its tuning."""
    own = [t for t in trials if t.arm == name]
    cost = {unit: sum(t.spent[unit] for t in own) for unit in ("flops", "tokens", "seconds")}
    grid = [{"learning_rate": t.learning_rate, "accuracy": t.accuracy} for t in own]
    return {"learning_rate": rate, "grid": grid, "tuning_cost": cost}
