"""Arms × seeds: several methods on one new skill, at equal budget, each with its own tuned learning rate.

Every arm is an ordinary recipe in an ordinary run folder, `arms/<arm>/seed-<s>`; what is compared is read back
from there. Finished runs are kept, so an interrupted comparison goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalpel import tasks
from scalpel.assemble import assemble
from scalpel.crew import Crew, Job, Report
from scalpel.experiment import base_engine, look_at_base, probes_of, run_recipe
from scalpel.measure import ItemResult, comparison, load
from scalpel.measure.run import Look
from scalpel.overlay import merge
from scalpel.progress import Progress as Shown
from scalpel.recipe import CompareSpec, Recipe, parse, write
from scalpel.report import write as write_report
from scalpel.runs import environment, write_json, write_text
from scalpel.tuning import Budget, Trial, account, best_rate, trial, with_settings

ARM_KEYS = ("name", "stages", "learning_rates")  # of an arm's table; all others are its stage's


@dataclass(frozen=True)
class Arm:
    """One method as a recipe, and the learning rates to try."""

    name: str
    recipe: Recipe
    rates: tuple[float, ...]


def compare(recipe: Recipe, folder: str | Path, *, resume: bool = False, progress: Shown | None = None) -> Path:
    """Runs all arms in all seeds, writes comparison.json and report.html, and returns the folder.

    Raises ValueError before anything runs if an arm can't work. An arm that fails while it runs is left out and
    named in the comparison, with the reason.
    """
    shown, folder = progress or Shown(quiet=True), Path(folder)
    spec, arms = checked(recipe)
    occupy(folder, recipe, resume)
    with Crew(spec.workers, shown) as crew:
        before = seen_of_base(arms[0].recipe, folder, crew)
        budget, trials = tuned(spec, arms, folder, crew)
        rates = {arm.name: best_rate(arm.name, arm.rates, trials, spec.tuning_margin) for arm in arms}
        jobs = []
        for seed in spec.seeds:
            for arm in arms:
                ready = with_settings(arm.recipe, seed, rates[arm.name], budget, crew.threads)
                tuning = account(arm.name, trials, rates[arm.name])
                where = folder / "arms" / arm.name / f"seed-{seed}"
                jobs.append(Job(arm.name, run_arm, (ready, where, before, tuning)))
        outcomes = crew.run("arms", jobs)
    failed = {job.label: str(found) for job, found in zip(jobs, outcomes, strict=True) if isinstance(found, Exception)}
    for name in failed:
        shutil.rmtree(folder / "arms" / name)
    if len(failed) == len(arms):
        raise ValueError("every arm failed: " + "; ".join(f"{name}: {why}" for name, why in failed.items()))
    write_json(folder / "comparison.json", {"order": [arm.name for arm in arms]})
    found = comparison(load(folder), price=spec.price, limit=spec.limit, budget=budget, failed=failed)
    write_json(folder / "comparison.json", found)
    write_report(folder)
    return folder


def checked(recipe: Recipe) -> tuple[CompareSpec, list[Arm]]:
    """The arms as recipes, each assembled once so that nonsense is refused before anything runs."""
    spec = recipe.compare
    if spec is None or not spec.arms:
        raise ValueError("nothing to compare: add [[compare.arms]], each with a name and a method")
    if not recipe.measure.probes:
        raise ValueError("nothing to measure: add [[measure.probes]], the first for the new skill")
    arms = [arm_of(table, spec, recipe) for table in spec.arms]
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names):
        raise ValueError(f"two arms share a name in {names}: rename one")
    if spec.equal_to and spec.equal_to not in names:
        raise ValueError(f"compare.equal_to is {spec.equal_to!r}, but the arms are {', '.join(names)}")
    tasks.make(recipe.task)
    probes_of(recipe)
    return spec, arms


def arm_of(table: Mapping[str, Any], spec: CompareSpec, recipe: Recipe) -> Arm:
    name = str(table.get("name") or table.get("method") or "")
    if not name or "/" in name:
        raise ValueError(f"the arm {dict(table)} needs a name (without '/')")
    raw = recipe.model_dump(mode="json", exclude={"compare", "stages", "name"}, exclude_none=True, by_alias=True)
    own = {key: value for key, value in table.items() if key not in ARM_KEYS}
    raw["stages"] = [merge(spec.shared, stage) for stage in table.get("stages", [own])]
    try:
        made = parse(raw, name=name)
        for stage in made.stages:
            assemble(stage, made)
    except ValueError as error:
        raise ValueError(f"arm {name!r}: {error}") from None
    rates = table.get("learning_rates", spec.learning_rates) or [made.stages[-1].learning_rate]
    return Arm(name, made, tuple(map(float, rates)))


def occupy(folder: Path, recipe: Recipe, resume: bool) -> None:
    """Takes the folder for this recipe, or goes on in it."""
    text, path = write(recipe), folder / "recipe.toml"
    if path.exists() and not resume:
        raise ValueError(f"{folder} already holds a comparison: take another folder (--out), or --resume")
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ValueError(f"{path} is another recipe than the one given: a comparison is resumed with its own")
    write_text(path, text)
    write_json(folder / "environment.json", environment())


def tuned(spec: CompareSpec, arms: Sequence[Arm], folder: Path, crew: Crew) -> tuple[Budget | None, list[Trial]]:
    """Every arm's budget, and all trials. The arm that sets the budget is tried first, at its own steps."""
    path = folder / "tuning.json"
    if path.exists():
        saved = json.loads(path.read_text(encoding="utf-8"))
        return saved["budget"], [Trial(**t) for t in saved["trials"]]
    trials: list[Trial] = []
    budget: Budget | None = None
    leaders: list[Arm] = []
    if spec.budget != "steps":
        if spec.amount is None:
            leaders = [next((arm for arm in arms if arm.name == spec.equal_to), arms[0])]
            trials = tried(spec, leaders, None, crew, "tuning the arm that sets the budget")
            amount = max(t.spent[spec.budget] for t in trials)
        else:
            amount = spec.amount
        budget = {"unit": spec.budget, "amount": amount}
    rest = [arm for arm in arms if arm not in leaders and len(arm.rates) > 1]
    trials += tried(spec, rest, budget, crew, "tuning the learning rates")
    write_json(path, {"budget": budget, "trials": [asdict(t) for t in trials]})
    return budget, trials


def tried(spec: CompareSpec, arms: Sequence[Arm], budget: Budget | None, crew: Crew, what: str) -> list[Trial]:
    """Every rate of every arm. A rate that breaks down is a failed trial; an arm needs one that doesn't."""
    jobs = [
        Job(
            arm.name,
            trial,
            (arm.name, with_settings(arm.recipe, spec.tuning_seed, rate, budget, crew.threads), spec.tuning_items),
        )
        for arm in arms
        for rate in arm.rates
    ]
    outcomes = crew.run(what, jobs)
    found = [t for t in outcomes if isinstance(t, Trial)]
    for arm in arms:
        if not any(t.arm == arm.name for t in found):
            error = next(e for job, e in zip(jobs, outcomes, strict=True) if job.label == arm.name)
            raise ValueError(f"arm {arm.name!r} fails at every learning rate of its grid: {error}") from error
    return found


def seen_of_base(recipe: Recipe, folder: Path, crew: Crew) -> Look:
    """What the probes see of the base, looked at once: a resumed comparison finds it in its folder."""
    path = folder / "before.json"
    if path.exists():
        saved = json.loads(path.read_text(encoding="utf-8"))
        return {probe: [ItemResult(**row) for row in rows] for probe, rows in saved.items()}
    before = only(crew.run("looking at the base", [Job("base", first_look, (recipe,))]))
    write_json(path, {probe: [asdict(result) for result in results] for probe, results in before.items()})
    return before


def first_look(recipe: Recipe, report: Report) -> Look:
    """What the probes see of the base; every arm shares it."""
    return look_at_base(probes_of(recipe), base_engine(recipe), Shown(quiet=True))


def run_arm(recipe: Recipe, folder: Path, before: Look, tuning: Mapping[str, Any], report: Report) -> None:
    """One arm in one seed, unless it is finished; what an interrupted run left is taken up or cleared away."""
    if (folder / "summary.json").exists():
        return
    checkpointed = any((folder / "checkpoints").glob("checkpoint-*"))
    if folder.exists() and not checkpointed:
        shutil.rmtree(folder)
    run_recipe(recipe, folder, resume=checkpointed, before=before, saves_model=False, tuning=tuning, report=report)


def only(outcomes: Sequence[Any]) -> Any:
    """The single outcome, raised if it is an error."""
    (found,) = outcomes
    if isinstance(found, Exception):
        raise found
    return found
