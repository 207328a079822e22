"""The number of compute threads: one per physical core, divided among worker processes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")


def cores(cpus: Path = CPUS) -> int:
    """The number of physical cores that this process may use. Two logical cores of one physical core share its
    arithmetic units, so a thread on each gains nothing. Where the topology is unknown, logical cores count."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    return len({siblings(cpus / f"cpu{n}" / "topology" / "thread_siblings_list") or str(n) for n in allowed})


def siblings(at: Path) -> str:
    return at.read_text().strip() if at.exists() else ""


def settle(threads: int) -> None:
    """Sets the number of threads within an operation. Operations run one at a time, since a model is a chain of them;
    the tokenizer gets no threads, which would compete and don't survive a fork."""
    import torch

    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        with suppress(RuntimeError):  # torch refuses this once parallel work has begun; it is harmless then
            torch.set_num_interop_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
