"""Checkpoints by time: written without being asked for, at a bounded cost, and gone when the run is over."""

import errno
import logging
import os

import pytest

from running import equal, ran, tables
from scalpel.experiments.single import run_recipe
from scalpel.runs import folder as run_folder
from scalpel.runs.folder import RunFolder
from scalpel.training import checkpoint
from scalpel.training.checkpoint import Saver
from scalpel.training.loop import train

PLAIN = {"method": "sft", "steps": 6}


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(checkpoint, "perf_counter", lambda: self.now)


class Slow:
    """A run whose checkpoints take a while."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds, self.written = clock, seconds, 0

    def checkpoint(self, step, state, kept) -> None:
        self.clock.now += self.seconds
        self.written += 1


def test_writing_takes_at_most_a_fiftieth_of_a_long_run_whatever_it_costs(at, monkeypatch):
    monkeypatch.setattr(checkpoint, "state_of", lambda *a: {})
    stage = type("Stage", (), {"spec": tables(at, PLAIN).stages[0]})
    for seconds in (0.01, 5.0, 90.0):
        clock = Clock(monkeypatch)
        folder = Slow(clock, seconds)
        saver = Saver(folder)  # type: ignore[arg-type]
        while clock.now < 50_000:
            clock.now += 1.0  # a step
            if saver.due(None, 1):
                saver.save(None, stage, checkpoint.RunState())  # type: ignore[arg-type]
        assert folder.written >= 10
        assert seconds * folder.written <= 0.02 * clock.now + seconds


def test_a_run_of_less_than_a_minute_writes_none_and_one_of_more_does(at, tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    for name, step, expected in (("short", 8.0, 0), ("long", 11.0, 1)):
        folder = RunFolder(tmp_path / name)

        def watch(run, stage, state, step=step) -> bool:
            clock.now += step
            return False

        train(tables(at, PLAIN), folder, watch=watch)
        assert len(folder.checkpoints()) == expected


def at_each_step(monkeypatch) -> None:
    """A step takes more than a minute, and writing no time."""
    clock, own = Clock(monkeypatch), RunFolder.log

    def log(self, record) -> None:
        clock.now += 61.0
        own(self, record)

    monkeypatch.setattr(RunFolder, "log", log)


def test_a_run_that_fails_goes_on_from_where_it_was(at, tmp_path, monkeypatch):
    expected, log = ran(tables(at, PLAIN), tmp_path / "whole")
    at_each_step(monkeypatch)

    def fail(record) -> None:
        if record["step"] == 4:
            raise InterruptedError

    folder = RunFolder(tmp_path / "cut")
    with pytest.raises(InterruptedError):
        train(tables(at, PLAIN), folder, tell=fail)
    assert [path.name for path in folder.checkpoints()] == ["checkpoint-3"]  # of these only the last is kept
    found, lines = ran(tables(at, PLAIN), tmp_path / "cut", resume=True)
    assert lines == log and equal(found, expected)


def test_zero_is_never(at, tmp_path, monkeypatch):
    at_each_step(monkeypatch)
    folder = RunFolder(tmp_path / "a")
    train(tables(at, {**PLAIN, "checkpoint_every": 0}), folder)
    assert not folder.checkpoints()


@pytest.mark.parametrize(("every", "left"), [(None, []), (3, ["checkpoint-3", "checkpoint-6"])])
def test_a_run_that_is_over_keeps_only_checkpoints_that_were_asked_for(at, tmp_path, monkeypatch, every, left):
    at_each_step(monkeypatch)
    stage = PLAIN if every is None else {**PLAIN, "checkpoint_every": every}
    run_recipe(tables(at, stage), tmp_path / "run")
    assert [path.name for path in RunFolder(tmp_path / "run", True).checkpoints()] == left


def full(tensors, path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_does_not_stop_a_run_that_never_asked_for_a_checkpoint(at, tmp_path, monkeypatch, caplog):
    at_each_step(monkeypatch)
    expected, _ = ran(tables(at, PLAIN), tmp_path / "whole")
    monkeypatch.setattr(run_folder, "save_file", full)
    folder = RunFolder(tmp_path / "a")
    with caplog.at_level(logging.WARNING, "scalpel"):
        run = train(tables(at, PLAIN), folder)
    assert equal({n: p.detach() for n, p in run.engine.model.named_parameters()}, expected)
    assert "no checkpoint after step 1, but the run continues: " in caplog.text and "No space left" in caplog.text
    assert not list((tmp_path / "a" / "checkpoints").iterdir())
