"""A process that does jobs for its leader and ends with it.

The leader holds one end of two lines. Orders and answers go over the first. Nothing ever goes over the second, the
lifeline: where the leader is gone, however it went, the system closes that and ends the worker in the same moment,
whatever it is at. Where the system can't do that, a thread of the worker does, by the first line.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any

from scalpel.errors import user_error
from scalpel.runs import signals
from scalpel.runs.threads import settle

EXPERIMENT = "scalpel.experiments.single"
Report = Callable[[float], None]  # how far a job is, in [0, 1]


@dataclass(frozen=True)
class WorkItem:
    """`fn(*args, report)`, a function at the top level of its module, so that another process finds it."""

    label: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]


@dataclass(frozen=True)
class WorkFailed:
    """In place of a job's result: why there is none, and the traceback if that is no error which its user can mend."""

    words: str
    trace: str = ""

    def error(self) -> Exception:
        return RuntimeError(f"{self.words}\n{self.trace}") if self.trace else ValueError(self.words)


def attempt(job: WorkItem, report: Report) -> Any:
    """The job's result, or why it failed."""
    try:
        return job.fn(*job.args, report)
    except (Exception, SystemExit) as error:
        found = user_error(error)
        return (
            WorkFailed(found.words) if found else WorkFailed(f"{type(error).__name__}: {error}", traceback.format_exc())
        )


def serve(line: Connection, lifeline: Connection, threads: int) -> None:
    """Does what comes over the line until the leader asks it to stop."""
    orders: SimpleQueue[bytes | None] = SimpleQueue()
    signals.follow(stop=lambda: orders.put(None))
    hang_on(lifeline)
    Thread(target=listen, args=(line, orders), daemon=True).start()
    settle(threads)
    import_module(EXPERIMENT)
    while (order := orders.get()) is not None:
        job = pickle.loads(order)
        try:
            line.send(("done", attempt(job, lambda share: line.send(("share", share)))))
        except KeyboardInterrupt:  # the checkpoint is written
            sys.exit(128 + signal.SIGTERM)


def listen(line: Connection, orders: SimpleQueue[bytes | None]) -> None:
    """Takes orders in. Without a leader nothing is to be written any more, so there is nothing to clear away."""
    with suppress(EOFError, OSError):
        while True:
            orders.put(line.recv_bytes())
    os._exit(1)


def hang_on(lifeline: Connection) -> None:
    """Lets the system end this process when the leader's end of the line closes, even where no thread of it can run,
    as within a regular expression."""
    if sys.platform == "linux":
        import fcntl

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
