"""Failed runs of a comparison: what is recorded of them, and how they are reported. All finished runs are kept."""

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
    """An arm that failed in one seed, or in the tuning of its learning rate (`seed` is None then)."""

    arm: str
    seed: int | None
    why: str
    fault: bool = False  # whether it is a bug of scalpel, and not an error that the user can fix

    @property
    def run(self) -> str:
        return self.arm if self.seed is None else f"{self.arm} in seed {self.seed}"


def write_reason(folder: Path, failed: WorkFailed) -> str:
    """Writes the reason of a failure into the run's folder, with the traceback if it is a bug of scalpel, and returns
    the reason."""
    write_text(folder / FILE, failed.trace or failed.words + "\n")
    return f"{failed.words} (the traceback is in {folder / FILE})" if failed.trace else failed.words


def without_result(failures: Sequence[Failure], finished: Sequence[str]) -> dict[str, str]:
    """The arms that finished in no seed, each with the reason of its first failure."""
    found: dict[str, str] = {}
    for failure in failures:
        if failure.arm not in finished:
            found.setdefault(failure.arm, failure.why)
    return found


def with_failures(compared: Mapping[str, Any], failures: Sequence[Failure], seeds: int) -> dict[str, Any]:
    """The comparison with its failures. An arm that failed in some seeds is shown by the others, with a warning, and in
    the headline too if it is the arm to take: the failed seeds might have been the worst, which biases its scores."""
    verdict = dict(compared["verdict"])
    rows = [row["name"] for row in compared["arms"]]
    words = []
    for name in rows:
        own = [failure for failure in failures if failure.arm == name]
        if own:
            reasons = "; ".join(f"seed {failure.seed}: {failure.why}" for failure in own)
            words.append(
                f"{name} failed in {len(own)} of {seeds} seeds ({reasons}). Its numbers are those of the other seeds, "
                "and may be too good."
            )
            if name == verdict["take"]:
                verdict["headline"] += f" It failed in {len(own)} of {seeds} seeds, though."
    verdict["words"] = [*words, *verdict["words"]]
    return {**compared, "verdict": verdict, "failures": [asdict(failure) for failure in failures]}


def raise_all_failed(failures: Sequence[Failure]) -> None:
    """Raises the error of a comparison in which no run finished, with every arm's reason. Nothing is removed."""
    reasons = "; ".join(f"{name}: {why}" for name, why in without_result(failures, ()).items())
    message = f"every arm failed: {reasons}"
    raise RuntimeError(message) if any(failure.fault for failure in failures) else ValueError(message)


def recorded(folder: str | Path) -> list[Failure]:
    """The failures that are recorded in a comparison's folder."""
    path = Path(folder) / "comparison.json"
    found = read_json(path, FAILURES) if path.is_file() else {}
    return [record_of(Failure, row, path) for row in found.get("failures", [])]


def in_words(failures: Sequence[Failure]) -> str:
    """The last line of a command whose comparison has failures."""
    runs = ", ".join(failure.run for failure in failures)
    return f"without a result: {runs}. Finished runs are kept; --resume tries these again"
