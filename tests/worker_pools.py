"""Worker pools whose leader and workers start in half a second, since nothing of theirs needs torch. A test runs this
file as a program and examines what the processes leave behind; a test must not import it."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import sys
import time
from pathlib import Path

from scalpel.errors import user_error
from scalpel.experiments import worker_process, workers
from scalpel.experiments.workers import WorkerPool, WorkFailed, WorkItem
from scalpel.runs.progress import Progress
from scalpel.runs.signals import Stopped, interruptible, stop_at_once

worker_process.settle = lambda threads: None
worker_process.EXPERIMENT = "json"
workers.cores = lambda: 2
workers.GRACE = float(os.environ.get("GRACE", 5.0))


def process_context():
    if os.environ.get("WAY") == "spawn":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["worker_pools"])
    return context


workers.process_context = process_context


def steps(folder, name, report):
    """Goes on until it is asked to stop, as a run does."""
    with interruptible() as wish:
        while not wish:
            with (folder / f"{name}.lines").open("a") as lines:
                lines.write("step\n")
            report(0.5)
            time.sleep(0.02)
    (folder / f"{name}.checkpoint").touch()
    raise Stopped


def stuck(folder, name, report):
    """Holds the interpreter, so that no other thread of the process can run."""
    (folder / f"{name}.lines").write_text("begun\n")
    re.match(r"(a+)+$", "a" * 40 + "b")


def dies(folder, name, times, report):
    """Is killed so often before it ends well."""
    with (folder / f"{name}.lines").open("a") as lines:
        lines.write(f"{os.getpid()}\n")
    if len((folder / f"{name}.lines").read_text().splitlines()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def asked(folder, name, report):
    """Is asked to stop from outside, once; it does and writes a checkpoint."""
    with interruptible() as wish:
        if not (folder / f"{name}.checkpoint").exists():
            os.kill(os.getpid(), signal.SIGTERM)
            assert wish
            (folder / f"{name}.checkpoint").touch()
            raise Stopped
    return name


def leaves(folder, name, report):
    os._exit(3)


def ends(folder, name, report):
    time.sleep(0.1)
    return name


def wrong(folder, name, report):
    raise KeyError("a fault of ours")


def lead(folder, names):
    """A work item for each name, `dies2` for one that is killed twice; prints what came of them."""
    items = []
    for k, name in enumerate(names):
        kind, times = name.rstrip("0123456789"), name.lstrip("abcdefghijklmnopqrstuvwxyz")
        more = (int(times),) if times else ()
        items.append(WorkItem(f"item {name}", globals()[kind], (folder, f"{name}-{k}", *more)))

    def finished(k, outcome):
        if "RAISES" in os.environ:
            raise RuntimeError("in the leader")

    with stop_at_once(), WorkerPool(2, Progress(quiet=True)) as pool:
        outcomes = pool.run("items", items, finished)
        print(json.dumps([vars(o) if isinstance(o, WorkFailed) else o for o in outcomes]))


def main():
    import worker_pools  # by this name the processes know its functions

    try:
        worker_pools.lead(Path(sys.argv[1]), sys.argv[2:])
    except BaseException as error:
        if (found := user_error(error)) is None:
            raise
        sys.exit(found.code)


if __name__ == "__main__":
    main()
