"""Reads run folders back into tables. Comparisons and reports are made from these tables alone.

A run folder holds one training run, or a comparison of arms, in which each `arms/<arm>/seed-<s>/` is the folder of one
training run. See docs/run-folder.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from scalpel.evaluation.ledger import Ledger
from scalpel.evaluation.ledger import read as read_ledgers
from scalpel.evaluation.recovery import PUSHES
from scalpel.runs.json_files import NUMBER, OPTIONAL_NUMBER, read_json, read_jsonl

COUNTS = {"tested": NUMBER, "recovered": NUMBER}
TALLY = {**COUNTS, **{f"{push}?": COUNTS for push in PUSHES}}
RECOVERY = {"k": OPTIONAL_NUMBER, "lost": TALLY, "control": TALLY}
SHARE = {...: OPTIONAL_NUMBER}
ABOUT = {"recovery?": (RECOVERY, type(None)), "unread?": SHARE, "cut_off?": SHARE}  # of a probe in ledger/summary.json
LINE = {"kind": str, "step?": NUMBER, "flops?": OPTIONAL_NUMBER, "seconds?": OPTIONAL_NUMBER}
WEIGHTS = {"components": [str], "layers": [str], "relative": [[OPTIONAL_NUMBER]]}
COMPLETE = {  # the keys of a run's summary.json that are read back
    "cost?": {...: OPTIONAL_NUMBER},
    "weights?": WEIGHTS,
    "floors?": [dict],
    "grid?": [{"learning_rate": NUMBER, "accuracy": OPTIONAL_NUMBER}],
    "tuning_cost?": {...: OPTIONAL_NUMBER},
    "learning_rate?": OPTIONAL_NUMBER,
    "steps?": OPTIONAL_NUMBER,
}


@dataclass(frozen=True)
class RunResults:
    """One training run: its ledgers, its summary and its evaluations during training."""

    folder: Path
    seed: int
    ledgers: Mapping[str, Ledger]
    summary: Mapping[str, Any]
    probes: list[dict[str, Any]]  # the `probe` lines of metrics.jsonl
    train: list[dict[str, Any]]  # the `train` lines
    recovery: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # each probe's entry in ledger/summary.json


@dataclass(frozen=True)
class Table:
    """One probe in one arm, with the same items in every seed. Axes: S seeds, I items, K items that were right before.

    The base is the same for all seeds, so values before training have no seed axis.
    """

    probe: str
    role: str
    kind: str
    unit: str
    ids: tuple[str, ...]
    before_I: np.ndarray  # right before training: 1 or 0; NaN where the probe has no right and wrong
    after_SI: np.ndarray
    value_before_I: np.ndarray
    value_after_SI: np.ndarray

    @property
    def judged(self) -> bool:
        return not bool(np.isnan(self.before_I).any())

    @property
    def change_SI(self) -> np.ndarray:
        """after − before for every item: 1 gained, −1 lost, 0 unchanged."""
        return self.after_SI - self.before_I

    @property
    def lost_SK(self) -> np.ndarray:
        """1 where lost and 0 where kept, over the K items that were right before."""
        return 1 - self.after_SI[:, self.before_I == 1]

    @property
    def value_change_SI(self) -> np.ndarray:
        return self.value_after_SI - self.value_before_I


@dataclass(frozen=True)
class ArmResults:
    """One arm of a comparison: a method in every seed that was run."""

    name: str
    runs: tuple[RunResults, ...]

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]

    @cached_property
    def tables(self) -> dict[str, Table]:
        """One table per probe, in the order of the ledger."""
        return {probe: table(self.name, [run.ledgers[probe] for run in self.runs]) for probe in self.probes}

    @property
    def probes(self) -> list[str]:
        first = list(self.runs[0].ledgers)
        for run in self.runs:
            if list(run.ledgers) != first:
                raise ValueError(
                    f"{run.folder} was measured on the probes {list(run.ledgers)}, but {self.runs[0].folder} on "
                    f"{first}: measure both with the same recipe"
                )
        return first


def table(arm: str, ledgers: list[Ledger]) -> Table:
    """The table of one probe from its ledgers, one per seed. Raises ValueError unless all seeds hold the same items and
    the same results of the base."""
    first = ledgers[0]
    ids = tuple(entry.id for entry in first.entries)
    rows = []
    for ledger in ledgers:
        by_id = {entry.id: entry for entry in ledger.entries}
        if set(by_id) != set(ids):
            raise ValueError(f"the seeds of arm {arm!r} hold different items of probe {ledger.probe!r}")
        rows.append([by_id[id] for id in ids])
    # Greedy decoding can differ between machines by a near-tie, so a base that is measured once per seed may disagree
    # with itself. Pairing on such data would count that as change, so it is refused. NaN (not judged) equals NaN here.
    before = [[number(entry.before) for entry in row] for row in rows]
    if any(np.not_equal(np.nan_to_num(row, nan=-1), np.nan_to_num(before[0], nan=-1)).any() for row in before):
        raise ValueError(
            f"the seeds of arm {arm!r} have different results of the base on probe {first.probe!r}: "
            "measure the base once, and give its results to the measurement of every run"
        )
    return Table(
        probe=first.probe,
        role=first.role,
        kind=first.kind,
        unit=first.unit,
        ids=ids,
        before_I=np.array(before[0]),
        after_SI=np.array([[number(entry.after) for entry in row] for row in rows]),
        value_before_I=np.array([number(entry.logp_before) for entry in rows[0]]),
        value_after_SI=np.array([[number(entry.logp_after) for entry in row] for row in rows]),
    )


def number(value: float | bool | None) -> float:
    return float("nan") if value is None else float(value)


def load(folder: str | Path) -> list[ArmResults]:
    """The arms of a comparison; a single training run is one arm with one seed. Raises ValueError for a folder that
    holds neither."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"there is no run folder {folder}; give one that `train` or `compare` wrote")
    if (folder / "arms").is_dir():
        arms = [load_arm(path) for path in sorted((folder / "arms").iterdir()) if seeds_in(path)]
        if not arms:
            raise ValueError(f"{folder}/arms holds no finished run; run the comparison to its end")
        return in_order(folder, arms)
    if not any((folder / name).is_file() for name in ("ledger/summary.json", "summary.json")):
        raise ValueError(
            f"{folder} holds neither arms/ nor ledger/ nor summary.json; give a folder that `train` or `compare` wrote "
            "and finished"
        )
    return [ArmResults(folder.resolve().name, (load_run(folder),))]


def in_order(folder: Path, arms: list[ArmResults]) -> list[ArmResults]:
    """The arms in the order that comparison.json has under `order`; by name where there is none."""
    path = folder / "comparison.json"
    order: list[str] = read_json(path, {"order?": [str]}).get("order", []) if path.is_file() else []
    return sorted(arms, key=lambda arm: (order.index(arm.name) if arm.name in order else len(order), arm.name))


def seeds_in(arm: Path) -> list[Path]:
    """The folders of an arm's finished seeds: those with a ledger and with summary.json, which is written last."""
    ends = ("ledger/summary.json", "summary.json")
    found = [path for path in arm.glob("seed-*") if all((path / end).is_file() for end in ends)]
    return sorted(found, key=seed_of)


def seed_of(folder: Path) -> int:
    match = re.fullmatch(r"seed-(\d+)", folder.name)
    return int(match.group(1)) if match else 0


def load_arm(folder: Path) -> ArmResults:
    return ArmResults(folder.name, tuple(load_run(path) for path in seeds_in(folder)))


def load_run(folder: Path) -> RunResults:
    metrics = folder / "metrics.jsonl"
    lines = read_jsonl(metrics, LINE) if metrics.is_file() else []
    summary = folder / "summary.json"
    measured = (folder / "ledger" / "summary.json").is_file()
    probes = read_json(folder / "ledger" / "summary.json", {"probes": {...: ABOUT}})["probes"] if measured else {}
    return RunResults(
        folder=folder,
        seed=seed_of(folder),
        ledgers={ledger.probe: ledger for ledger in read_ledgers(folder)} if measured else {},
        summary=read_json(summary, COMPLETE) if summary.is_file() else {},
        probes=[line for line in lines if line.get("kind") == "probe"],
        train=[line for line in lines if line.get("kind") == "train"],
        recovery={name: row.get("recovery") for name, row in probes.items()},
        about=probes,
    )
