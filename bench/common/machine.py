"""The machine, the versions and the commit that a result belongs to."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "transformers", "peft", "tokenizers", "trl", "accelerate", "lm-eval", "datasets")
PROBE = 2048  # the size of the matrices whose product shows the machine's peak
REPEATS = 5  # products a step


def peak_bytes(device: str = "cpu") -> int:
    """The most memory that this process has used: of the GPU, or in RAM.

    On Linux from /proc, since what getrusage gives would include the process that started this one.
    """
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return 1024 * int(lines["VmHWM"].split()[0])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def now_bytes(device: str = "cpu") -> int:
    """The memory in use at this moment, counted as the peak is."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.memory_allocated())
    import psutil

    return int(psutil.Process().memory_info().rss)


def product(turn: Any, *, device: str, dtype: str, size: int, steps: int, **other: Any) -> dict[str, Any]:
    """A side that multiplies square matrices: `REPEATS` products a step."""
    import torch

    a = torch.randn(size, size, device=device).to(getattr(torch, dtype))
    turn()
    for _ in range(steps):
        for _ in range(REPEATS):
            a @ a
        turn()
    name = torch.cuda.get_device_name() if device.startswith("cuda") else processor()
    return {"device": name, "threads": torch.get_num_threads()}


def rate(seconds: Sequence[float], size: int = PROBE) -> float:
    """Operations a second of the fastest step: a peak is what the machine can do, not what it does on average."""
    return 2.0 * size**3 * REPEATS / min(seconds)


def processor() -> str:
    """The processor's model name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> tuple[str, bool]:
    """The commit, and whether a tracked file of the tree differs from it; the benches' own results don't count."""
    look = ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results", ":!docs/speed.md"]
    try:
        head, changed = (
            subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for command in (["git", "rev-parse", "--short=12", "HEAD"], look)
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True
    return head, bool(changed)


def described(threads: int) -> dict[str, Any]:
    """What goes into a result about where it is taken; asked before the first step, since all of it may change."""
    head, dirty = commit()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "commit": head, "dirty": dirty, "versions": versions(), "processor": processor(), "cores": cores(),
        "threads": threads, "system": platform.platform(), "load_before": load,
    }  # fmt: skip
