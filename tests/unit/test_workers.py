"""A pool of worker processes: results in order, what failed in its place, however the processes are started."""

import os
import sys

import pytest

from scalpel.experiments import workers as module
from scalpel.experiments.workers import WorkerPool, WorkFailed, WorkItem
from scalpel.runs.progress import Progress


def twice(n, report):
    report(0.5)
    return 2 * n


def refused(report):
    raise ValueError("no such thing")


def broken(report):
    raise KeyError("a fault of ours")


def where(report):
    return os.getpid()


def quits(report):
    sys.exit("code of a user that means to end all")


ITEMS = [
    WorkItem("a", twice, (1,)),
    WorkItem("b", refused, ()),
    WorkItem("c", twice, (3,)),
    WorkItem("d", broken, ()),
    WorkItem("e", quits, ()),
]


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 2)


def outcomes(workers: int) -> tuple[list, list]:
    told = []
    with WorkerPool(workers, Progress(quiet=True)) as pool:
        found = pool.run("items", ITEMS, lambda k, outcome: told.append(k))
    return found, told


def check(found: list, told: list) -> None:
    a, b, c, d, e = found
    assert (a, c) == (2, 6) and sorted(told) == [0, 1, 2, 3, 4]
    assert b == WorkFailed("no such thing") and isinstance(b.error(), ValueError)
    assert "KeyError" in d.words and "in broken" in d.trace and isinstance(d.error(), RuntimeError)
    assert "means to end all" in e.words


def test_one_worker_runs_in_this_process(two_cores):
    with WorkerPool(1, Progress(quiet=True)) as pool:
        assert pool.threads == 2 and pool.run("items", [WorkItem("here", where, ())]) == [os.getpid()]


def test_an_item_that_fails_takes_no_other_with_it(two_cores):
    check(*outcomes(1))


def test_two_worker_processes_give_what_one_gives(two_cores):
    check(*outcomes(2))


@pytest.mark.parametrize(("platform", "gpu"), [("darwin", False), ("linux", True)])
def test_processes_begin_afresh_where_copies_are_not_safe(monkeypatch, platform, gpu):
    monkeypatch.setattr(module.sys, "platform", platform)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    assert module.process_context().get_start_method() == "spawn"
