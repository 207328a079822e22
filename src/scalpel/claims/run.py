"""Tests a claim: pilot, then seeds until a look decides, and the result.

The folder holds the runs; `result.json` beside the claim holds every number of every seed and what the pilot found, so
that further seeds extend it, on another machine too, without the earlier runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

from scalpel.claims.by_seed import arms_needed, load_seed, pair_of, rows_of, seconds_of
from scalpel.claims.claim import Claim
from scalpel.claims.judge import judged
from scalpel.claims.origin import counted, origin, taken_over
from scalpel.claims.pilot import Pilot, gridded, run_pilot
from scalpel.claims.result import FORMAT, result_of
from scalpel.claims.seeds import Experiment, run_seeds
from scalpel.config.recipe import write
from scalpel.evaluation.results import ArmResults
from scalpel.experiments.compare import checked
from scalpel.experiments.workers import WorkerPool
from scalpel.runs.atomic import write_json, write_text
from scalpel.runs.folder import environment
from scalpel.runs.json_files import read_json
from scalpel.runs.progress import Progress

RUNS = "runs.json"


@dataclass
class Limit:
    """When to stop adding seeds: at the first look unless `decided`, after so many hours, after so many looks."""

    decided: bool = False
    hours: float | None = None
    looks: int | None = None

    def __post_init__(self) -> None:
        self.began = time.monotonic()

    def over(self, expected: float = 0.0) -> bool:
        """Whether work of so many seconds would end after the time."""
        return self.hours is not None and time.monotonic() + expected - self.began > 3600 * self.hours


def run_claim(
    claim: Claim, folder: Path, *, limit: Limit | None = None, anew: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Runs what is missing, and returns the result. It is written into the folder, and beside the claim unless
    overrides have made another experiment of it. `anew` leaves the committed result aside."""
    limit, progress = limit or Limit(), progress or Progress(quiet=True)
    if claim.statement.out_of_regime:
        raise ValueError(f"{claim.id} is not run, since it is out of its regime here: {claim.statement.out_of_regime}")
    known = None if claim.overrides or anew else result_of(claim)
    spec, arms = checked(claim.recipe)
    arms = gridded(arms, claim.statement.pilot.grid)
    occupy(claim, folder, known)
    with counted(folder), WorkerPool(spec.workers, progress) as pool:
        pool.threads = 1
        pilot = Pilot(**known["pilot"]) if known else run_pilot(claim, arms, folder, pool)
        experiment = Experiment(claim, tuple(arms), pilot.rates, pilot.budget, folder)
        numbers = Numbers(claim, pilot, folder, known)
        for _ in add_seeds(experiment, numbers, limit, pool) if pilot.holds else ():
            write_result(claim, folder, pilot, numbers)
    return write_result(claim, folder, pilot, numbers)


def write_result(claim: Claim, folder: Path, pilot: Pilot, numbers: Numbers) -> dict[str, Any]:
    """Writes what is known of the claim now, and returns it."""
    found = result(claim, folder, pilot, numbers)
    write_json(folder / "result.json", found)
    if not claim.overrides:
        write_json(claim.folder / "result.json", found)
    return found


def occupy(claim: Claim, folder: Path, known: Mapping[str, Any] | None) -> None:
    """Begins a folder of runs, or goes on with one. Raises ValueError where its runs are not those of the claim."""
    path = folder / RUNS
    if path.is_file() and read_json(path, {"digest": str})["digest"] != claim.runs:
        raise ValueError(f"{folder} holds runs of another recipe than the claim's now: start over with --anew")
    if not path.is_file() and (folder / "arms").exists():
        raise ValueError(
            f"{folder} holds the runs of a comparison or of an earlier kind of claim: start over with --anew"
        )
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "recipe.toml", write(claim.recipe))
        write_json(folder / "environment.json", environment())
        if known:
            taken_over(folder, known["commits"], 60 * known["minutes"])
        write_json(path, {"digest": claim.runs})


class Numbers:
    """The numbers of every seed so far: those of the committed result, and those of the runs in the folder."""

    def __init__(self, claim: Claim, pilot: Pilot, folder: Path, known: Mapping[str, Any] | None) -> None:
        self.claim, self.chosen, self.folder = claim, pilot.chosen, folder
        self.arms = arms_needed(claim, pilot.chosen)
        self.rows = rows_of(claim, pilot.chosen)
        self.seconds: dict[str, dict[str, float | None]] = dict(known["seconds"]) if known else {}
        for row, old in zip(self.rows, known["rows"] if known else (), strict=False):
            row["numbers"] = dict(old["numbers"])
        self.read()

    @property
    def seeds(self) -> int:
        """How many seeds are complete, from seed 1 on."""
        n = 0
        while str(n + 1) in self.seconds:
            n += 1
        return n

    def read(self) -> None:
        """Reads the runs that were finished since, a block of seeds at a time."""
        while all((runs := self.block()).values()):
            for row, (_, one) in zip(self.rows, self.claim.statement.contrasts(), strict=True):
                row["numbers"][str(max(runs))] = pair_of(one, self.chosen, [own for own in runs.values() if own])
            self.seconds |= {str(seed): seconds_of(own) for seed, own in runs.items() if own}

    def block(self) -> dict[int, dict[str, ArmResults] | None]:
        """The runs of the next seeds that give a number; None for a seed that isn't finished."""
        following = range(self.seeds + 1, self.seeds + 1 + self.claim.statement.sampling.block)
        return {seed: load_seed(self.folder, self.arms, seed) for seed in following}

    def judged(self) -> dict[str, Any]:
        return judged(self.rows, self.claim.statement.sampling)


def add_seeds(experiment: Experiment, numbers: Numbers, limit: Limit, pool: WorkerPool) -> Iterator[int]:
    """Adds seeds up to the first look that decides, or as far as the limit allows. Yields every look that is taken."""
    sampling, expected = experiment.claim.statement.sampling, 0.0
    ahead = [look for look in sampling.looks if look > numbers.seeds]
    for look in ahead[: limit.looks]:
        if numbers.seeds >= sampling.looks[0] and not (limit.decided and numbers.judged()["verdict"] == "inconclusive"):
            return
        while numbers.seeds < look:
            if limit.over(expected):
                return
            started, here = time.monotonic(), numbers.seeds
            more = sampling.block * ceil(pool.workers / sampling.block)
            run_seeds(experiment, numbers.arms, range(here + 1, min(look, here + more) + 1), pool)
            numbers.read()
            expected = time.monotonic() - started
        yield look


def result(claim: Claim, folder: Path, pilot: Pilot, numbers: Numbers) -> dict[str, Any]:
    """All that is known of the claim now, ready for JSON."""
    made = origin(folder)
    return {
        "format": FORMAT,
        "claim": claim.id,
        "digest": claim.digest,
        **judged(numbers.rows, claim.statement.sampling, pilot.holds),
        "looks": claim.statement.sampling.looks,
        "alpha": claim.statement.sampling.alpha,
        "pilot": asdict(pilot),
        "seconds": numbers.seconds,
        "command": " ".join(["scalpel claim", claim.id, *claim.overrides]),
        "commits": made["commits"],
        "minutes": made["seconds"] / 60,
        "environment": read_json(folder / "environment.json"),
    }
