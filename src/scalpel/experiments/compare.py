"""Arms × seeds: several methods on one new skill, at equal budget, each with its own tuned learning rate.

Every arm is an ordinary recipe in an ordinary run folder, `arms/<arm>/seed-<s>`; what is compared is read back
from there. Finished runs are kept, so an interrupted comparison goes on where it stopped.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scalpel.binding.bind import placed
from scalpel.config.recipe import (
    CompareSpec,
    Recipe,
)
from scalpel.evaluation import ItemResult, comparison, load
from scalpel.evaluation.run import ProbeResults
from scalpel.experiments.arm import Arm, arm_of, measured_alike
from scalpel.experiments.compare_data import shared_inventory
from scalpel.experiments.compare_resume import INPUTS, occupy, read_by
from scalpel.experiments.failures import (
    FILE,
    Failure,
    note,
    refuse_nothing,
    said,
    without_result,
)
from scalpel.experiments.pair import probe_base
from scalpel.experiments.preflight import refuse_arms, refuse_recipe
from scalpel.experiments.single import (
    TRAINED,
    base_engine,
    probes_of,
    run_recipe,
)
from scalpel.experiments.tuning import (
    Tuning,
    account,
    best_rate,
    tuned,
    with_settings,
)
from scalpel.experiments.workers import (
    Report,
    WorkerPool,
    WorkFailed,
    WorkItem,
)
from scalpel.reporting import write as write_report
from scalpel.runs.atomic import write_json
from scalpel.runs.files import apart
from scalpel.runs.json_files import OPTIONAL_NUMBER, read_json, record_of
from scalpel.runs.progress import Progress as Shown

log = logging.getLogger("scalpel")
RIGHT = (bool, type(None))
RESULT = {"id": str, "right": RIGHT, "value": OPTIONAL_NUMBER, "output": str, "prompt": str, "answer?": str}


def compare(recipe: Recipe, folder: str | Path, *, resume: bool = False, progress: Shown | None = None) -> Path:
    """Runs all arms in all seeds, writes comparison.json and report.html, and returns the folder.

    Raises ValueError before anything runs if an arm can't work. A run that fails is named in the comparison, with the
    reason; all others go on and are compared, and resuming tries it again.
    """
    shown, folder = progress or Shown(quiet=True), Path(folder)
    spec, arms = checked(recipe)
    data = shared_inventory(recipe, {arm.name: arm.recipe for arm in arms})
    shown.say(data.words)
    inputs = read_by([recipe, *(arm.recipe for arm in arms)])
    occupy(folder, recipe, inputs, resume)
    with WorkerPool(spec.workers, shown) as crew:
        before = seen_of_base(arms[0].recipe, folder, crew)
        write_json(folder / "data.json", data.state())
        write_json(folder / INPUTS, inputs)
        tuning = tuned(spec, arms, folder, crew)
        failures = [Failure(name, None, why) for name, why in tuning.failed.items()]
        failures += run_arms(spec, [arm for arm in arms if arm.name not in tuning.failed], tuning, before, folder, crew)
    finished = [arm for arm in arms if any((folder / "arms" / arm.name).glob("seed-*/summary.json"))]
    if not finished:
        refuse_nothing(failures)
    failed = without_result(failures, [arm.name for arm in finished])
    write_json(folder / "comparison.json", {"order": [arm.name for arm in arms]})
    found = comparison(load(folder), price=spec.price, limit=spec.limit, budget=tuning.budget, failed=failed)
    write_json(folder / "comparison.json", said(found, failures, len(spec.seeds)))
    write_report(folder)
    return folder


def run_arms(
    spec: CompareSpec, arms: Sequence[Arm], tuning: Tuning, before: ProbeResults, folder: Path, crew: WorkerPool
) -> list[Failure]:
    """Every arm in every seed; gives those that failed, in that order."""
    jobs, places = [], []
    for seed in spec.seeds:
        for arm in arms:
            rate = best_rate(arm.name, arm.rates, tuning.trials, spec.tuning_margin)
            ready = with_settings(arm.recipe, seed, rate, tuning.budget, crew.threads)
            where = folder / "arms" / arm.name / f"seed-{seed}"
            if not (where / "summary.json").exists():
                told = account(arm.name, tuning.trials, rate)
                jobs.append(WorkItem(f"{arm.name} in seed {seed}", run_arm, (ready, where, before, told)))
                places.append((arm.name, seed, where))
    failures: dict[int, Failure] = {}

    def finished(k: int, outcome: Any) -> None:
        if isinstance(outcome, WorkFailed):
            name, seed, where = places[k]
            failures[k] = Failure(name, seed, note(where, outcome), bool(outcome.trace))
            log.warning("%s failed: %s", failures[k].run, failures[k].why)

    crew.run("arms", jobs, finished)
    return [failures[k] for k in sorted(failures)]


def checked(recipe: Recipe) -> tuple[CompareSpec, list[Arm]]:
    """The arms as recipes, each assembled once so that nonsense is refused before anything runs."""
    spec = recipe.compare
    if spec is None or not spec.arms:
        raise ValueError("nothing to compare: add [[compare.arms]], each with a name and a method")
    if not recipe.measure.probes:
        raise ValueError("nothing to measure: add [[measure.probes]], the first for the new skill")
    refuse_arms(spec.arms)
    arms = [arm_of(table, spec, recipe) for table in spec.arms]
    for arm in arms:
        with placed(f"arm {arm.name!r}"):
            refuse_recipe(arm.recipe)
    names = [arm.name for arm in arms]
    apart(names, "arms")
    if spec.equal_to and spec.equal_to not in names:
        raise ValueError(f"compare.equal_to is {spec.equal_to!r}, but the arms are {', '.join(names)}")
    return spec, measured_alike(arms)


def seen_of_base(recipe: Recipe, folder: Path, crew: WorkerPool) -> ProbeResults:
    """What the probes see of the base, looked at once: a resumed comparison finds it in its folder."""
    path = folder / "before.json"
    if path.exists():
        saved = read_json(path, {...: [RESULT]})
        return {probe: [record_of(ItemResult, row, path) for row in rows] for probe, rows in saved.items()}
    (before,) = crew.run("looking at the base", [WorkItem("looking at the base", first_look, (recipe,))])
    if isinstance(before, WorkFailed):
        raise before.error()
    write_json(path, {probe: [asdict(result) for result in results] for probe, results in before.items()})
    return before


def first_look(recipe: Recipe, report: Report) -> ProbeResults:
    """What the probes see of the base; every arm shares it."""
    return probe_base(probes_of(recipe), base_engine(recipe), Shown(quiet=True))


def run_arm(recipe: Recipe, folder: Path, before: ProbeResults, tuning: Mapping[str, Any], report: Report) -> None:
    """One arm in one seed, unless it is finished; what an interrupted or failed run left is taken up or cleared."""
    if (folder / "summary.json").exists():  # by a process that was killed before it could say so
        return
    taken_up = any((folder / "checkpoints").glob("checkpoint-*")) or (folder / TRAINED).exists()
    if folder.exists() and not taken_up:
        shutil.rmtree(folder)
    (folder / FILE).unlink(missing_ok=True)
    run_recipe(recipe, folder, resume=taken_up, before=before, saves_model=False, tuning=tuning, report=report)
