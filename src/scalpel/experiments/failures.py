"""Runs of a comparison that gave no result: what is kept of them, and how they are said. Everything that was finished
beside them stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalpel.experiments.workers import WorkFailed
from scalpel.runs.atomic import write_text
from scalpel.runs.json_files import read_json, record_of

FILE = "error.txt"

FAILURES = {"failures?": [{"arm": str, "seed": (int, type(None)), "why": str, "fault?": bool}]}


@dataclass(frozen=True)
class Failure:
    """An arm in one seed, or before any seed where its learning rates could not be tuned."""

    arm: str
    seed: int | None
    why: str
    fault: bool = False  # of ours, not one that a user can mend

    @property
    def run(self) -> str:
        return self.arm if self.seed is None else f"{self.arm} in seed {self.seed}"


def note(folder: Path, failed: WorkFailed) -> str:
    """Writes down in a run's folder why it failed, with the traceback where it is a fault of ours; the reason."""
    write_text(folder / FILE, failed.trace or failed.words + "\n")
    return f"{failed.words} (the traceback is in {folder / FILE})" if failed.trace else failed.words


def without_result(failures: Sequence[Failure], finished: Sequence[str]) -> dict[str, str]:
    """The arms that finished in no seed, each with the first reason."""
    found: dict[str, str] = {}
    for failure in failures:
        if failure.arm not in finished:
            found.setdefault(failure.arm, failure.why)
    return found


def said(compared: Mapping[str, Any], failures: Sequence[Failure], seeds: int) -> dict[str, Any]:
    """The comparison with its failures: an arm whose other seeds ended is shown by those, and that is said where it
    stands first, since the seeds that broke down might have done worse."""
    verdict = dict(compared["verdict"])
    rows = [row["name"] for row in compared["arms"]]
    words = []
    for name in rows:
        own = [failure for failure in failures if failure.arm == name]
        if own:
            reasons = "; ".join(f"seed {failure.seed}: {failure.why}" for failure in own)
            words.append(
                f"{name} failed in {len(own)} of {seeds} seeds ({reasons}). Its numbers are those of the others, which "
                "may flatter it."
            )
            if name == verdict["take"]:
                verdict["headline"] += f" It failed in {len(own)} of {seeds} seeds, though."
    verdict["words"] = [*words, *verdict["words"]]
    return {**compared, "verdict": verdict, "failures": [asdict(failure) for failure in failures]}


def refuse_nothing(failures: Sequence[Failure]) -> None:
    """Raises if no run was finished, with every arm's reason; nothing is taken away."""
    reasons = "; ".join(f"{name}: {why}" for name, why in without_result(failures, ()).items())
    message = f"every arm failed: {reasons}"
    raise RuntimeError(message) if any(failure.fault for failure in failures) else ValueError(message)


def of(folder: str | Path) -> list[Failure]:
    """The failures that a comparison's folder tells of."""
    path = Path(folder) / "comparison.json"
    found = read_json(path, FAILURES) if path.is_file() else {}
    return [record_of(Failure, row, path) for row in found.get("failures", [])]


def in_words(failures: Sequence[Failure]) -> str:
    """For the end of a command."""
    runs = ", ".join(failure.run for failure in failures)
    return f"without a result: {runs}. What is finished is kept; --resume tries these again"
