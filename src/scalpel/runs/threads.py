"""How many threads compute: as many as there are physical cores, shared out where several processes run."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")


def cores(cpus: Path = CPUS) -> int:
    """The physical cores that this process may use: two logical ones of a core share its arithmetic units, so a
    thread on each would gain nothing. Where the system doesn't say, every logical one counts."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    return len({siblings(cpus / f"cpu{n}" / "topology" / "thread_siblings_list") or str(n) for n in allowed})


def siblings(at: Path) -> str:
    return at.read_text().strip() if at.exists() else ""


def settle(threads: int) -> None:
    """So many threads within an operation. One operation at a time, since a model is a chain of them; and none for the
    tokenizer, whose own would stand in the way and can't live on in a forked process."""
    import torch

    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        with suppress(RuntimeError):  # too late once operations have run in parallel; it does no harm then
            torch.set_num_interop_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
