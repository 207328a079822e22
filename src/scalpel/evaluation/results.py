"""Reads run folders back into tables. All that a comparison or a report knows, it knows from here.

A run folder is one training run, or a comparison of arms: `arms/<arm>/seed-<s>/` each of which is
the folder of one training run. See docs/run-folder.md.
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
ABOUT = {"recovery?": (RECOVERY, type(None)), "unread?": SHARE, "cut_off?": SHARE}  # in the ledger's summary
LINE = {"kind": str, "step?": NUMBER, "flops?": OPTIONAL_NUMBER, "seconds?": OPTIONAL_NUMBER}
WEIGHTS = {"components": [str], "layers": [str], "relative": [[OPTIONAL_NUMBER]]}
COMPLETE = {
    "cost?": {...: OPTIONAL_NUMBER},
    "weights?": WEIGHTS,
    "floors?": [dict],
    "grid?": [{"learning_rate": NUMBER, "accuracy": OPTIONAL_NUMBER}],
    "tuning_cost?": {...: OPTIONAL_NUMBER},
    "learning_rate?": OPTIONAL_NUMBER,
    "steps?": OPTIONAL_NUMBER,
}  # of summary.json, what is read again


@dataclass(frozen=True)
class RunResults:
    """One training run: its ledgers, its summary and what its checkpoints showed."""

    folder: Path
    seed: int
    ledgers: Mapping[str, Ledger]
    summary: Mapping[str, Any]
    probes: list[dict[str, Any]]  # the `probe` lines of metrics.jsonl
    train: list[dict[str, Any]]  # the `train` lines
    recovery: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # each probe's entry in the ledger's summary


@dataclass(frozen=True)
class Table:
    """One probe in one arm: the same items in every seed. Axes: S seeds, I items."""

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
        """after − before of every item: 1 gained, −1 lost, 0 unchanged."""
        return self.after_SI - self.before_I

    @property
    def lost_SK(self) -> np.ndarray:
        """1 where lost, over the K items that were right before."""
        return 1 - self.after_SI[:, self.before_I == 1]

    @property
    def value_change_SI(self) -> np.ndarray:
        return self.value_after_SI - self.value_before_I


@dataclass(frozen=True)
class ArmResults:
    """One method in every seed that was run."""

    name: str
    runs: tuple[RunResults, ...]

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]

    @cached_property
    def tables(self) -> dict[str, Table]:
        """A table for each probe, in the order of the ledger."""
        return {probe: table(self.name, [run.ledgers[probe] for run in self.runs]) for probe in self.probes}

    @property
    def probes(self) -> list[str]:
        first = list(self.runs[0].ledgers)
        for run in self.runs:
            if list(run.ledgers) != first:
                raise ValueError(f"{run.folder} was measured on {list(run.ledgers)}, its sister on {first}")
        return first


def table(arm: str, books: list[Ledger]) -> Table:
    """Lays the ledgers of one probe, one a seed, over each other; they must hold the same items."""
    first = books[0]
    ids = tuple(entry.id for entry in first.entries)
    rows = []
    for book in books:
        by_id = {entry.id: entry for entry in book.entries}
        if set(by_id) != set(ids):
            raise ValueError(f"the seeds of arm {arm!r} hold different items of probe {book.probe!r}")
        rows.append([by_id[id] for id in ids])
    before = [[number(entry.before) for entry in row] for row in rows]
    if any(np.not_equal(np.nan_to_num(row, nan=-1), np.nan_to_num(before[0], nan=-1)).any() for row in before):
        raise ValueError(
            f"the seeds of arm {arm!r} start from different answers to probe {first.probe!r}; "
            "look at the base once and hand that to every run's measurement"
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
    """The arms of a comparison, or the one arm that a single training run is."""
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
    """In the order of `comparison.json`'s `order`, where there is one; by name otherwise."""
    path = folder / "comparison.json"
    order: list[str] = read_json(path, {"order?": [str]}).get("order", []) if path.is_file() else []
    return sorted(arms, key=lambda arm: (order.index(arm.name) if arm.name in order else len(order), arm.name))


def seeds_in(arm: Path) -> list[Path]:
    """The finished seeds of an arm: those with a ledger, and a summary, which is written last."""
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
        ledgers={book.probe: book for book in read_ledgers(folder)} if measured else {},
        summary=read_json(summary, COMPLETE) if summary.is_file() else {},
        probes=[line for line in lines if line.get("kind") == "probe"],
        train=[line for line in lines if line.get("kind") == "train"],
        recovery={name: row.get("recovery") for name, row in probes.items()},
        about=probes,
    )
