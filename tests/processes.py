"""Programs under test as processes: what they started, and whether that has ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def launched(*arguments: object, **environment: str) -> subprocess.Popen:
    """A Python program in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def parents() -> dict[int, int]:
    """Process → its parent, of all that go on."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            found[int(stat.parent.name)] = int(parent)
    return found


def descendants(of: int) -> set[int]:
    by = parents()
    found = {of}
    while more := {pid for pid, parent in by.items() if parent in found} - found:
        found |= more
    return found - {of}


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true within that time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def ended(pids: set[int], within: float) -> bool:
    return until(lambda: not pids & set(parents()), within)
