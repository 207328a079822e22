"""A pool of worker processes that runs independent work items, each process with its share of the cores.

Every worker has a connection of its own to the parent. A shared queue would stay locked if a worker died while it held
the lock; here a worker that dies takes only its own work item with it. That item is tried again, alone, when all others
have ended.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

from scalpel.experiments.worker_process import (
    EXPERIMENT,
    Report,
    WorkFailed,
    WorkItem,
    attempt,
    serve,
)
from scalpel.runs.progress import Bar, Progress
from scalpel.runs.signals import WORDS
from scalpel.runs.threads import cores

__all__ = ["WorkerPool", "WorkFailed", "WorkItem", "Report"]

GRACE = 30.0  # seconds that running items get for a step and a checkpoint when the pool is shut down early
EXIT_TIMEOUT = 5.0  # seconds that a process gets to exit after its connection was closed
UNKNOWN = 255  # exit code that multiprocessing reports where the fork server, which alone could know it, has ended
log = logging.getLogger("scalpel")
Finished = Callable[[int, Any], None]  # is called with the index of a work item and its outcome


class Worker:
    """A worker process, as seen from its parent."""

    def __init__(self, context: Any, threads: int) -> None:
        self.connection, theirs = context.Pipe()
        their_lifeline, self.lifeline = context.Pipe(duplex=False)
        self.their_ends = (theirs, their_lifeline)
        self.process = context.Process(target=serve, args=(*self.their_ends, threads))
        self.item: int | None = None  # index of the work item that it runs

    def start(self) -> None:
        self.process.start()
        # without this the parent would hold the worker's ends open, and never see that the worker has ended
        for end in self.their_ends:
            end.close()

    def send(self, k: int, item: WorkItem) -> None:
        self.item = k
        with suppress(OSError):  # the worker has just ended; the next wait for its sentinel shows that
            self.connection.send_bytes(ForkingPickler.dumps(item))

    def signal(self, number: int) -> None:
        if self.process.pid is not None:
            with suppress(OSError):
                os.kill(self.process.pid, number)

    def wait_or_kill(self, until: float) -> None:
        """Waits for the process to exit until that time (of time.monotonic), then kills it. Messages are still read
        meanwhile: a worker that writes into a full pipe would wait for ever."""
        if self.process.pid is None:
            return
        waited_for = [self.connection, self.process.sentinel]
        with suppress(EOFError, OSError):
            while ready := wait(waited_for, max(0.0, until - time.monotonic())):
                if self.connection in ready:
                    self.connection.recv_bytes()
                # the fork server has ended: its sentinels all say "ended", and only the connection shows the truth
                elif self.process.exitcode == UNKNOWN:
                    waited_for = [self.connection]
                else:
                    return
            self.signal(signal.SIGKILL)

    def close(self) -> int | None:
        """Makes sure that the process has ended, and closes its pipes. Returns its exit code, where that is known."""
        if self.process.pid is None:
            return None
        self.process.join(EXIT_TIMEOUT)
        if self.process.exitcode in (None, UNKNOWN):
            self.signal(signal.SIGKILL)
            self.process.join(EXIT_TIMEOUT)
        self.connection.close()
        self.lifeline.close()
        return self.process.exitcode


class WorkerPool:
    """A pool for a `with` block. `workers` 0 starts one process per core; with 1, all items run in this process."""

    def __init__(self, workers: int, progress: Progress) -> None:
        self.progress, self.cores = progress, cores()
        self.workers = min(workers or self.cores, self.cores)
        self.threads = max(1, self.cores // self.workers)
        self.running: list[Worker] = []

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.shut_down()

    def shut_down(self) -> None:
        """Asks all workers to stop, lets running items write their checkpoints, as after Ctrl-C, and kills what still
        runs after the grace period."""
        if any(worker.item is not None for worker in self.running):
            self.progress.say(WORDS)
        until = time.monotonic() + GRACE
        try:
            for worker in self.running:
                worker.signal(signal.SIGTERM)
            for worker in self.running:
                worker.wait_or_kill(until)
        except BaseException:  # a second Ctrl-C: no more waiting
            for worker in self.running:
                worker.signal(signal.SIGKILL)
            raise
        finally:
            for worker in self.running:
                worker.close()
            self.running.clear()

    def run(self, what: str, items: Sequence[WorkItem], finished: Finished = lambda k, outcome: None) -> list[Any]:
        """The results of the items in their order, with a `WorkFailed` in the place of each that failed. `finished` is
        called with each outcome as soon as it is there."""
        if not items:
            return []
        bar = self.progress.bar(what, float(len(items)), "runs")
        return (self.run_here if self.workers == 1 else self.run_in_workers)(items, bar, finished)

    def run_here(self, items: Sequence[WorkItem], bar: Bar, finished: Finished) -> list[Any]:
        results = []
        for k, item in enumerate(items):
            results.append(attempt(item, partial(self.advance, bar, k)))
            finished(k, results[-1])
        bar.to(len(items))
        return results

    @staticmethod
    def advance(bar: Bar, before: int, share: float) -> None:
        bar.to(before + share)

    def run_in_workers(self, items: Sequence[WorkItem], bar: Bar, finished: Finished) -> list[Any]:
        state = PoolState(items, bar, finished)
        lost = self.run_items(state, range(len(items)), self.workers)
        for k, why in lost.items():
            log.warning("%s: its process %s; it is tried again alone when all others have ended", items[k].label, why)
        if lost:
            self.shut_down()  # idle processes hold memory, of which the second try may need all
        for k, why in self.run_items(state, list(lost), 1).items():
            state.finish(k, WorkFailed(f"its process {why}, twice, the second time alone; {self.advice()}"))
        return state.outcomes

    def run_items(self, state: PoolState, indices: Sequence[int], workers: int) -> dict[int, str]:
        """Runs those items on that many workers. Returns the items whose worker was killed, with how it ended."""
        pending, lost = deque(indices), dict[int, str]()
        while pending or any(worker.item is not None for worker in self.running):
            idle = [worker for worker in self.running if worker.item is None]
            while pending and (idle or len(self.running) < workers):
                k = pending.popleft()
                (idle.pop() if idle else self.start_worker()).send(k, state.items[k])
            for worker in self.ready():
                if not self.receive(worker, state):
                    code = worker.close()
                    self.running.remove(worker)
                    if worker.item is not None:
                        self.record_death(worker.item, code, state, lost)
            state.show()
        return lost

    def start_worker(self) -> Worker:
        worker = Worker(process_context(), self.threads)
        self.running.append(worker)  # before it starts, so that an interrupt in between still shuts it down
        worker.start()
        return worker

    def ready(self) -> list[Worker]:
        """The workers that sent a message or ended, within half a second."""
        by = {handle: worker for worker in self.running for handle in (worker.connection, worker.process.sentinel)}
        return list({id(by[handle]): by[handle] for handle in wait(list(by), timeout=0.5)}.values())

    @staticmethod
    def receive(worker: Worker, state: PoolState) -> bool:
        """Reads all messages of a worker; False if it has ended."""
        try:
            while worker.connection.poll():
                kind, value = worker.connection.recv()
                assert worker.item is not None, "a worker without a work item sent a message"
                if kind == "done":
                    state.finish(worker.item, value)
                    worker.item = None
                else:
                    state.advance(worker.item, value)
        except (EOFError, OSError):
            return False
        # checked after the messages: a worker may have sent its result just before it ended
        return not wait([worker.process.sentinel], timeout=0)

    def record_death(self, k: int, code: int | None, state: PoolState, lost: dict[int, str]) -> None:
        """An item whose worker was killed, as by the kernel where memory runs out, is tried again. One whose worker
        exited by itself would do so again, so it has failed."""
        if code is None or code < 0 or code in (UNKNOWN, 128 + signal.SIGTERM):
            lost[k] = how_it_ended(code)
        else:
            why = f"its process ended with exit status {code} and no result, as after os._exit in a reward function"
            state.finish(k, WorkFailed(why))

    def advice(self) -> str:
        return (
            f"if memory ran out, run fewer at a time (it was compare.workers={self.workers}; 1 runs them one by one), "
            "lower train.micro_tokens, or take a scope that trains less, such as lora; --resume then continues"
        )


class PoolState:
    """The work items of one call of `WorkerPool.run`, with their outcomes and progress."""

    def __init__(self, items: Sequence[WorkItem], bar: Bar, finished: Finished) -> None:
        self.items, self.bar, self.finished = items, bar, finished
        self.outcomes: list[Any] = [None] * len(items)
        self.progress = [0.0] * len(items)

    def advance(self, k: int, share: float) -> None:
        self.progress[k] = max(self.progress[k], share)  # an item that is tried again doesn't set the bar back

    def finish(self, k: int, outcome: Any) -> None:
        self.outcomes[k], self.progress[k] = outcome, 1.0
        self.finished(k, outcome)

    def show(self) -> None:
        self.bar.to(sum(self.progress))


def how_it_ended(code: int | None) -> str:
    """How a process ended that was killed, from its exit code."""
    if code is None or code == UNKNOWN:
        return "ended without a result"
    name = signal.Signals(-code if code < 0 else code - 128).name
    if code == -signal.SIGKILL:
        return f"was killed by {name}, as the system does where memory runs out"
    return f"was ended by {name}"


def process_context() -> Any:
    """How worker processes start: forked from a server that has imported everything and computed nothing, so that they
    share its memory and start fast. By `spawn` elsewhere than on Linux, where forking isn't known to be safe, and
    beside a GPU, since CUDA can't be used in a forked process."""
    import torch

    if sys.platform != "linux" or torch.cuda.is_available():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([EXPERIMENT])
    return context
