"""A crew of processes that runs independent jobs, each with its share of the cores.

Every process has a line of its own to the leader, so that one that dies takes nothing from the others: no shared queue
is left locked, and only its own job is lost. That is tried again when the others have ended, alone.
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
from scalpel.runs.progress import Bar
from scalpel.runs.progress import Progress as Shown
from scalpel.runs.signals import WORDS
from scalpel.runs.threads import cores

__all__ = ["WorkerPool", "WorkFailed", "WorkItem", "Report"]

GRACE = 30.0  # seconds for a step and a checkpoint when the crew is dismissed early
MOMENT = 5.0  # seconds for a process to end once its line is closed
UNKNOWN = 255  # exit code of a process that can't be asked for it, since what it was copied from has ended
log = logging.getLogger("scalpel")
Finished = Callable[[int, Any], None]  # is told the job's place and what came of it


class Worker:
    """A process of the crew, as its leader knows it."""

    def __init__(self, context: Any, threads: int) -> None:
        self.line, theirs = context.Pipe()
        theirs_to_watch, self.lifeline = context.Pipe(duplex=False)
        self.ends = (theirs, theirs_to_watch)
        self.process = context.Process(target=serve, args=(*self.ends, threads))
        self.job: int | None = None  # the place of what it is at

    def start(self) -> None:
        self.process.start()
        for end in self.ends:
            end.close()

    def order(self, k: int, job: WorkItem) -> None:
        self.job = k
        with suppress(OSError):  # it has just ended, as will be heard
            self.line.send_bytes(ForkingPickler.dumps(job))

    def signal(self, number: int) -> None:
        if self.process.pid is not None:
            with suppress(OSError):
                os.kill(self.process.pid, number)

    def leave(self, until: float) -> None:
        """Waits for the process to end, then ends it. What still comes is read: who can't say what he has to does not
        end."""
        if self.process.pid is None:
            return
        signs = [self.line, self.process.sentinel]
        with suppress(EOFError, OSError):
            while heard := wait(signs, max(0.0, until - time.monotonic())):
                if self.line in heard:
                    self.line.recv_bytes()
                elif self.process.exitcode == UNKNOWN:  # what it was copied from has ended: only the line can tell
                    signs = [self.line]
                else:
                    return
            self.signal(signal.SIGKILL)

    def end(self) -> int | None:
        """Sees to it that the process ends; its exit code, where that is known."""
        if self.process.pid is None:
            return None
        self.process.join(MOMENT)
        if self.process.exitcode in (None, UNKNOWN):
            self.signal(signal.SIGKILL)
            self.process.join(MOMENT)
        self.line.close()
        self.lifeline.close()
        return self.process.exitcode


class WorkerPool:
    """Use it in a `with` block. `workers` 0 takes one process a core; with one worker all runs in this process."""

    def __init__(self, workers: int, shown: Shown) -> None:
        self.shown, self.cores = shown, cores()
        self.workers = min(workers or self.cores, self.cores)
        self.threads = max(1, self.cores // self.workers)
        self.members: list[Worker] = []

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.dismiss()

    def dismiss(self) -> None:
        """Lets runs under way write their checkpoints, as they do after a Ctrl-C, then ends what still goes on."""
        if any(member.job is not None for member in self.members):
            self.shown.say(WORDS)
        until = time.monotonic() + GRACE
        try:
            for member in self.members:
                member.signal(signal.SIGTERM)
            for member in self.members:
                member.leave(until)
        except BaseException:
            for member in self.members:
                member.signal(signal.SIGKILL)
            raise
        finally:
            for member in self.members:
                member.end()
            self.members.clear()

    def run(self, what: str, jobs: Sequence[WorkItem], finished: Finished = lambda k, outcome: None) -> list[Any]:
        """The jobs' results in order, with `WorkFailed` in place of those that there are none of. `finished` is told
        each as it comes."""
        if not jobs:
            return []
        bar = self.shown.bar(what, float(len(jobs)), "runs")
        return (self.run_here if self.workers == 1 else self.run_apart)(jobs, bar, finished)

    def run_here(self, jobs: Sequence[WorkItem], bar: Bar, finished: Finished) -> list[Any]:
        results = []
        for k, job in enumerate(jobs):
            results.append(attempt(job, partial(self.reached, bar, k)))
            finished(k, results[-1])
        bar.to(len(jobs))
        return results

    @staticmethod
    def reached(bar: Bar, before: int, share: float) -> None:
        bar.to(before + share)

    def run_apart(self, jobs: Sequence[WorkItem], bar: Bar, finished: Finished) -> list[Any]:
        work = Progressing(jobs, bar, finished)
        lost = self.work(work, range(len(jobs)), self.workers)
        for k, why in lost.items():
            log.warning("%s: its process %s; it is tried again alone when all others have ended", jobs[k].label, why)
        if lost:
            self.dismiss()  # idle processes hold memory, too
        for k, why in self.work(work, list(lost), 1).items():
            work.done(k, WorkFailed(f"its process {why}, twice, the second time alone; {self.advice()}"))
        return work.outcomes

    def work(self, work: Progressing, places: Sequence[int], workers: int) -> dict[int, str]:
        """Does those jobs with so many processes; gives the places of those whose process was ended, and how."""
        left, lost = deque(places), dict[int, str]()
        while left or any(member.job is not None for member in self.members):
            idle = [member for member in self.members if member.job is None]
            while left and (idle or len(self.members) < workers):
                k = left.popleft()
                (idle.pop() if idle else self.hire()).order(k, work.jobs[k])
            for member in self.heard_of():
                if not self.hear(member, work):
                    code = member.end()
                    self.members.remove(member)
                    if member.job is not None:
                        self.lose(member.job, code, work, lost)
            work.show()
        return lost

    def hire(self) -> Worker:
        member = Worker(started(), self.threads)
        self.members.append(member)  # before it starts, so that whatever comes between, it is dismissed
        member.start()
        return member

    def heard_of(self) -> list[Worker]:
        """The members that said something or ended."""
        by = {signs: member for member in self.members for signs in (member.line, member.process.sentinel)}
        return list({id(by[sign]): by[sign] for sign in wait(list(by), timeout=0.5)}.values())

    @staticmethod
    def hear(member: Worker, work: Progressing) -> bool:
        """Takes in what a member said; False if it has ended."""
        try:
            while member.line.poll():
                kind, value = member.line.recv()
                assert member.job is not None, "who has no order has nothing to say"
                if kind == "done":
                    work.done(member.job, value)
                    member.job = None
                else:
                    work.reach(member.job, value)
        except (EOFError, OSError):
            return False
        return not wait([member.process.sentinel], timeout=0)

    def lose(self, k: int, code: int | None, work: Progressing, lost: dict[int, str]) -> None:
        """What was killed is tried again; what ended of itself would do so again."""
        if code is None or code < 0 or code in (UNKNOWN, 128 + signal.SIGTERM):
            lost[k] = killed(code)
        else:
            why = (
                f"its process ended with exit status {code} and without a word, as after os._exit in a reward function"
            )
            work.done(k, WorkFailed(why))

    def advice(self) -> str:
        return (
            f"if memory ran out, run fewer at a time (it was compare.workers={self.workers}; 1 runs them one by one), "
            "lower train.micro_tokens, or take a scope that moves less, such as lora; --resume then goes on"
        )


class Progressing:
    """Jobs under way: what came of them, how far they are."""

    def __init__(self, jobs: Sequence[WorkItem], bar: Bar, finished: Finished) -> None:
        self.jobs, self.bar, self.finished = jobs, bar, finished
        self.outcomes: list[Any] = [None] * len(jobs)
        self.shares = [0.0] * len(jobs)

    def reach(self, k: int, share: float) -> None:
        self.shares[k] = max(self.shares[k], share)

    def done(self, k: int, outcome: Any) -> None:
        self.outcomes[k], self.shares[k] = outcome, 1.0
        self.finished(k, outcome)

    def show(self) -> None:
        self.bar.to(sum(self.shares))


def killed(code: int | None) -> str:
    """How a process ended that did not end of itself."""
    if code is None or code == UNKNOWN:
        return "ended without a word"
    name = signal.Signals(-code if code < 0 else code - 128).name
    if code == -signal.SIGKILL:
        return f"was killed by {name}, as the system does where memory runs out"
    return f"was ended by {name}"


def started() -> Any:
    """How processes begin: as copies of one that has imported all and computed nothing, so that its memory is shared.
    Afresh where the system is not known to copy safely, and beside a GPU, which a copied process may not open."""
    import torch

    if sys.platform != "linux" or torch.cuda.is_available():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([EXPERIMENT])
    return context
