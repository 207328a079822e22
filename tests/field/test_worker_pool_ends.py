"""Processes end together: whatever becomes of the leader or of a worker, no process goes on alone, and no result is
lost."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from processes import descendants, ended, launched, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
POOLS = Path(__file__).parents[1] / "worker_pools.py"


@pytest.fixture
def pool(tmp_path):
    """Starts a leader with these work items; what is left of it in the end is killed."""
    leaders = []

    def start(*items: str, **environment: str):
        leaders.append(launched(POOLS, tmp_path, *items, **environment))
        return leaders[-1]

    yield start
    for leader in leaders:
        with suppress(ProcessLookupError):  # the leader's group, since its workers may have outlived it
            os.killpg(leader.pid, signal.SIGKILL)
        leader.communicate()


def at_work(folder: Path, items: int) -> bool:
    return until(lambda: len([p for p in folder.glob("*.lines") if p.stat().st_size]) == items, 60)


@pytest.mark.parametrize("way", ["forkserver", "spawn"])
def test_workers_end_with_a_leader_that_is_killed_even_where_no_thread_of_theirs_can_run(pool, tmp_path, way):
    leader = pool("steps", "stuck", WAY=way)
    assert at_work(tmp_path, 2)
    others = descendants(leader.pid)
    assert len(others) >= 3, "two workers, and what they are copied from"
    leader.kill()
    assert ended(others, within=30)
    assert not list(tmp_path.glob("*.checkpoint")), "a folder that another process may have taken over is left alone"


@pytest.mark.parametrize(
    ("number", "to_all", "way"),
    [
        (signal.SIGINT, False, "forkserver"),
        (signal.SIGINT, True, "spawn"),
        (signal.SIGTERM, True, "forkserver"),
        (signal.SIGHUP, True, "forkserver"),
    ],
)
def test_a_signal_lets_all_runs_write_a_checkpoint(pool, tmp_path, number, to_all, way):
    leader = pool("steps", "steps", WAY=way)
    assert at_work(tmp_path, 2)
    others = descendants(leader.pid)
    (os.killpg if to_all else os.kill)(leader.pid, number)
    assert leader.wait(60) == 128 + number, leader.stderr.read()
    assert len(list(tmp_path.glob("*.checkpoint"))) == 2
    assert ended(others, within=30)


def test_a_second_signal_stops_at_once(pool, tmp_path):
    leader = pool("stuck", "steps", GRACE="60")
    assert at_work(tmp_path, 2)
    others = descendants(leader.pid)
    leader.terminate()
    assert until(lambda: (tmp_path / "steps-1.checkpoint").exists(), 30) and leader.poll() is None
    leader.terminate()
    assert leader.wait(50) == 143 and ended(others, within=30)


def test_a_worker_that_does_not_stop_is_ended_after_a_while(pool, tmp_path):
    leader = pool("stuck", GRACE="0.5")
    assert at_work(tmp_path, 1)
    others = descendants(leader.pid)
    leader.send_signal(signal.SIGINT)
    assert leader.wait(60) == 130 and ended(others, within=30)


def test_an_exception_in_the_leader_ends_all_and_lets_runs_write_a_checkpoint(pool, tmp_path):
    leader = pool("ends", "steps", RAISES="yes")
    assert until(lambda: leader.poll() is not None, 60)
    assert leader.returncode == 1 and "in the leader" in leader.stderr.read()
    assert (tmp_path / "steps-1.checkpoint").exists()


def test_a_worker_that_is_killed_loses_nothing_but_its_item_which_is_tried_again_alone(pool, tmp_path):
    leader = pool("dies1", "ends", "asked", "wrong", "leaves", "dies2")
    out, err = leader.communicate(timeout=120)
    assert leader.returncode == 0, err
    first, second, third, wrong, left, killed = json.loads(out)
    assert (first, second, third) == ("dies1-0", "ends-1", "asked-2")
    assert "KeyError" in wrong["words"] and "Traceback" in wrong["trace"]
    assert "exit status 3" in left["words"]
    assert all(words in killed["words"] for words in ("SIGKILL", "memory", "compare.workers=2", "--resume"))
    assert "item dies1: its process was killed by SIGKILL" in err and "tried again alone" in err
    assert "item asked: its process was ended by SIGTERM" in err
    assert len((tmp_path / "dies2-5.lines").read_text().splitlines()) == 2
