"""The origin of a result: the commits whose code ran, and the minutes of run time, without interruptions."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scalpel.runs.atomic import write_json
from scalpel.runs.json_files import NUMBER, read_json

SOURCE = Path(__file__).parents[1]
FILE = "origin.json"
ORIGIN = {"commits": [str], "seconds": NUMBER, "since?": NUMBER}


def commit() -> str:
    """The commit of the code that runs, with a + where files of it differ; "unknown" outside a checkout."""
    try:
        head, changed = (
            subprocess.run(["git", *words], cwd=SOURCE, capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--", "."])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def origin(folder: Path) -> dict[str, Any]:
    """What is known of the runs in that folder."""
    path = folder / FILE
    return read_json(path, ORIGIN) if path.is_file() else {"commits": [], "seconds": 0.0}


def taken_over(folder: Path, commits: Sequence[str], seconds: float) -> None:
    """Begins with what is known of earlier runs, which are not in the folder."""
    write_json(folder / FILE, {"commits": list(commits), "seconds": seconds})


@contextmanager
def counted(folder: Path) -> Iterator[None]:
    """Adds this commit, and in the end the time, to what is known of the folder: an interrupted run may have several
    of either. A run that was killed had no end: it counts up to the last thing that it wrote."""
    before, started, now = origin(folder), time.time(), commit()
    commits = [*before["commits"], *([] if now in before["commits"] else [now])]
    seconds = before["seconds"] + (last_written(folder) - before["since"] if "since" in before else 0.0)
    write_json(folder / FILE, {"commits": commits, "seconds": seconds, "since": started})
    try:
        yield
    finally:
        write_json(folder / FILE, {"commits": commits, "seconds": seconds + time.time() - started})


def last_written(folder: Path) -> float:
    return max(path.stat().st_mtime for path in folder.rglob("*") if path.is_file())
