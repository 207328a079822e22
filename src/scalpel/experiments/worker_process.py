"""A worker process: it runs work items for its parent, and ends when the parent ends.

Two pipes connect it to the parent. Work items and results go over the first, the connection. Nothing is ever sent over
the second, the lifeline: when the parent ends, in whatever way, the operating system closes its end and at once sends
SIGIO, whose default action ends the worker, whatever it computes. Elsewhere than on Linux a thread of the worker
notices that the connection was closed.
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
Report = Callable[[float], None]  # is called with the progress of a work item, in [0, 1]


@dataclass(frozen=True)
class WorkItem:
    """A call `fn(*args, report)`. `fn` is a function at the top level of its module, since it is pickled by name."""

    label: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]


@dataclass(frozen=True)
class WorkFailed:
    """Takes the place of a work item's result: the reason of the failure, with the traceback unless the error is one
    that the user can fix."""

    words: str
    trace: str = ""

    def error(self) -> Exception:
        return RuntimeError(f"{self.words}\n{self.trace}") if self.trace else ValueError(self.words)


def attempt(item: WorkItem, report: Report) -> Any:
    """The result of the work item, or a WorkFailed. KeyboardInterrupt passes through: a stop is no failure."""
    try:
        return item.fn(*item.args, report)
    # SystemExit: a user's reward function may call sys.exit, which must not end the worker without a word
    except (Exception, SystemExit) as error:
        found = user_error(error)
        return (
            WorkFailed(found.words) if found else WorkFailed(f"{type(error).__name__}: {error}", traceback.format_exc())
        )


def serve(connection: Connection, lifeline: Connection, threads: int) -> None:
    """The main function of a worker: runs work items in the order in which they come, until the parent asks it to
    stop."""
    items: SimpleQueue[bytes | None] = SimpleQueue()
    signals.follow(stop=lambda: items.put(None))
    die_with_parent(lifeline)
    Thread(target=receive, args=(connection, items), daemon=True).start()
    settle(threads)
    import_module(EXPERIMENT)
    # unpickled here, since an error in the receiving thread would be lost, and the work item with it
    while (pickled := items.get()) is not None:
        item = pickle.loads(pickled)
        try:
            connection.send(("done", attempt(item, lambda share: connection.send(("progress", share)))))
        except KeyboardInterrupt:  # the run was asked to stop, and has written its checkpoint
            sys.exit(128 + signal.SIGTERM)


def receive(connection: Connection, items: SimpleQueue[bytes | None]) -> None:
    """Receives work items. When the parent has ended, ends the process without any cleanup: the folder may belong to
    another process by then, so nothing must be written or removed any more."""
    with suppress(EOFError, OSError):
        while True:
            items.put(connection.recv_bytes())
    os._exit(1)


def die_with_parent(lifeline: Connection) -> None:
    """Has the operating system end this process when the parent's end of the lifeline closes. A thread would not do:
    it can't run while the main thread holds the interpreter's lock, as within a long match of a regular expression."""
    if sys.platform == "linux":
        import fcntl

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
