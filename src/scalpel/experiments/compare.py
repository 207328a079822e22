"""Compares arms over seeds: several methods on one new skill, at equal budget, each with its own tuned learning rate.

Every arm is an ordinary recipe in an ordinary run folder, `arms/<arm>/seed-<s>`, and the comparison is made from these
folders. Finished runs are kept, so an interrupted comparison continues where it stopped.
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
    raise_all_failed,
    with_failures,
    without_result,
    write_reason,
)
from scalpel.experiments.looks import Looks, in_seeds, plan_of
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
from scalpel.runs.progress import Progress

log = logging.getLogger("scalpel")
END = "summary.json"  # of a run, written last
RIGHT = (bool, type(None))
RESULT = {"id": str, "right": RIGHT, "value": OPTIONAL_NUMBER, "output": str, "prompt": str, "answer?": str}


def compare(recipe: Recipe, folder: str | Path, *, resume: bool = False, progress: Progress | None = None) -> Path:
    """Runs all arms in all seeds, writes comparison.json and report.html, and returns the folder.

    Raises ValueError before anything runs if an arm can't work. A run that fails is named in the comparison, with the
    reason; all others continue and are compared, and `resume` tries the failed ones again.
    """
    progress, folder = progress or Progress(quiet=True), Path(folder)
    spec, arms = checked(recipe)
    data = shared_inventory(recipe, {arm.name: arm.recipe for arm in arms})
    progress.say(data.words)
    inputs = read_by([recipe, *(arm.recipe for arm in arms)])
    occupy(folder, recipe, inputs, resume)
    with WorkerPool(spec.workers, progress) as pool:
        before = base_results(arms[0].recipe, folder, pool)
        write_json(folder / "data.json", data.state())
        write_json(folder / INPUTS, inputs)
        tuning = tuned(spec, arms, folder, pool)
        found = decided(spec, arms, tuning, before, folder, pool)
    write_json(folder / "comparison.json", found)
    write_report(folder)
    return folder


def decided(
    spec: CompareSpec, arms: Sequence[Arm], tuning: Tuning, before: ProbeResults, folder: Path, pool: WorkerPool
) -> dict[str, Any]:
    """Runs the seeds of one look after another until the comparison is decided, and returns it."""
    looks = Looks(spec, folder)
    failures = [Failure(name, None, why) for name, why in tuning.failed.items()]
    able = [arm for arm in arms if arm.name not in tuning.failed]
    done: set[int] = set()
    for look, seeds in enumerate(looks.plan.seeds):
        failures += run_arms(spec, [s for s in seeds if s not in done], able, tuning, before, folder, pool)
        done |= set(seeds)
        finished = [
            arm for arm in arms if any((folder / "arms" / arm.name / f"seed-{s}" / END).exists() for s in seeds)
        ]
        if not finished:
            raise_all_failed(failures)
        failed = without_result(failures, [arm.name for arm in finished])
        # `load` orders the arms by this file; it has no verdict yet, so an interrupt leaves no finished comparison
        write_json(folder / "comparison.json", {"order": [arm.name for arm in arms]})
        kept = in_seeds(load(folder), seeds)
        level = looks.level(look)
        found = comparison(kept, price=spec.price, limit=spec.limit, budget=tuning.budget, failed=failed, level=level)
        if looks.add(look, found["verdict"]):
            break
    return looks.told(with_failures(found, failures, len(seeds)))


def run_arms(
    spec: CompareSpec,
    seeds: Sequence[int],
    arms: Sequence[Arm],
    tuning: Tuning,
    before: ProbeResults,
    folder: Path,
    pool: WorkerPool,
) -> list[Failure]:
    """Runs every arm in every one of these seeds, and returns the failures. Seeds are the outer loop, so that an
    interrupted comparison has all arms in its first seeds."""
    work, places = [], []
    for seed in seeds:
        for arm in arms:
            rate = best_rate(arm.name, arm.rates, tuning.trials, spec.tuning_margin)
            ready = with_settings(arm.recipe, seed, rate, tuning.budget, pool.threads)
            where = folder / "arms" / arm.name / f"seed-{seed}"
            if not (where / END).exists():
                tuning_summary = account(arm.name, tuning.trials, rate)
                work.append(WorkItem(f"{arm.name} in seed {seed}", run_arm, (ready, where, before, tuning_summary)))
                places.append((arm.name, seed, where))
    failures: dict[int, Failure] = {}

    def finished(k: int, outcome: Any) -> None:
        if isinstance(outcome, WorkFailed):
            name, seed, where = places[k]
            failures[k] = Failure(name, seed, write_reason(where, outcome), bool(outcome.trace))
            log.warning("%s failed: %s", failures[k].run, failures[k].why)

    pool.run("arms", work, finished)
    return [failures[k] for k in sorted(failures)]


def checked(recipe: Recipe) -> tuple[CompareSpec, list[Arm]]:
    """The arms as recipes, each assembled once, so that an invalid one is refused before anything runs."""
    spec = recipe.compare
    if spec is None or not spec.arms:
        raise ValueError("nothing to compare: add [[compare.arms]], each with a name and a method")
    if not recipe.measure.probes:
        raise ValueError("nothing to measure: add [[measure.probes]], the first for the new skill")
    refuse_arms(spec.arms)
    plan_of(spec)
    arms = [arm_of(table, spec, recipe) for table in spec.arms]
    for arm in arms:
        with placed(f"arm {arm.name!r}"):
            refuse_recipe(arm.recipe)
    names = [arm.name for arm in arms]
    apart(names, "arms")
    if spec.equal_to and spec.equal_to not in names:
        raise ValueError(f"compare.equal_to is {spec.equal_to!r}, but the arms are {', '.join(names)}")
    return spec, measured_alike(arms)


def base_results(recipe: Recipe, folder: Path, pool: WorkerPool) -> ProbeResults:
    """The probes' results on the base, which is evaluated once; a resumed comparison reads them from its folder. Arms
    and seeds can be paired item by item only if all of them start from the same results."""
    path = folder / "before.json"
    if path.exists():
        return read_before(path)
    # as a work item: where there are workers, the parent process never holds a model beside theirs
    (before,) = pool.run("evaluating the base", [WorkItem("evaluating the base", evaluate_base, (recipe,))])
    if isinstance(before, WorkFailed):
        raise before.error()
    write_before(path, before)
    return before


def read_before(path: Path) -> ProbeResults:
    """The probes' results on the base, from their file."""
    saved = read_json(path, {...: [RESULT]})
    return {probe: [record_of(ItemResult, row, path) for row in rows] for probe, rows in saved.items()}


def write_before(path: Path, before: ProbeResults) -> None:
    write_json(path, {probe: [asdict(result) for result in results] for probe, results in before.items()})


def evaluate_base(recipe: Recipe, report: Report) -> ProbeResults:
    """The probes' results on the base, as a work item."""
    return probe_base(probes_of(recipe), base_engine(recipe), Progress(quiet=True))


def run_arm(recipe: Recipe, folder: Path, before: ProbeResults, tuning: Mapping[str, Any], report: Report) -> None:
    """Runs one arm in one seed, unless it is finished. An interrupted run is resumed from its checkpoint; one without a
    checkpoint is removed and begun again."""
    if (folder / END).exists():  # finished by a worker that was killed before it could send its result
        return
    taken_up = any((folder / "checkpoints").glob("checkpoint-*")) or (folder / TRAINED).exists()
    if folder.exists() and not taken_up:
        shutil.rmtree(folder)
    (folder / FILE).unlink(missing_ok=True)
    run_recipe(recipe, folder, resume=taken_up, before=before, saves_model=False, tuning=tuning, report=report)
