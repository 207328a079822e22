"""Processes end together: whatever becomes of the leader or of a worker, nobody computes on alone, and nothing that was
finished is lost."""

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
CREWS = Path(__file__).parents[1] / "crews.py"


@pytest.fixture
def crew(tmp_path):
    """Starts a leader with these jobs; what is left of it in the end is killed."""
    leaders = []

    def start(*jobs: str, **environment: str):
        leaders.append(launched(CREWS, tmp_path, *jobs, **environment))
        return leaders[-1]

    yield start
    for leader in leaders:
        with suppress(ProcessLookupError):  # the leader's group, since its workers may have outlived it
            os.killpg(leader.pid, signal.SIGKILL)
        leader.communicate()


def at_work(folder: Path, jobs: int) -> bool:
    return until(lambda: len([p for p in folder.glob("*.lines") if p.stat().st_size]) == jobs, 20)


def lines(folder: Path) -> list[int]:
    return [path.stat().st_size for path in sorted(folder.glob("*.lines"))]


@pytest.mark.parametrize("way", ["forkserver", "spawn"])
def test_workers_end_with_a_leader_that_is_killed_even_where_no_thread_of_theirs_can_run(crew, tmp_path, way):
    leader = crew("steps", "stuck", WAY=way)
    assert at_work(tmp_path, 2)
    others = descendants(leader.pid)
    assert len(others) >= 3, "two workers, and what they are copied from"
    leader.kill()
    assert ended(others, within=2)
    written = lines(tmp_path)
    assert not until(lambda: lines(tmp_path) != written, 0.2)
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
def test_a_signal_lets_all_runs_write_a_checkpoint(crew, tmp_path, number, to_all, way):
    leader = crew("steps", "steps", WAY=way)
    assert at_work(tmp_path, 2)
    others = descendants(leader.pid)
    (os.killpg if to_all else os.kill)(leader.pid, number)
    assert leader.wait(15) == 128 + number, leader.stderr.read()
    assert len(list(tmp_path.glob("*.checkpoint"))) == 2
    assert ended(others, within=5)


def test_a_second_signal_stops_at_once(crew, tmp_path):
    leader = crew("stuck", "steps", GRACE="60")
    assert at_work(tmp_path, 2)
    others = descendants(leader.pid)
    leader.terminate()
    assert until(lambda: (tmp_path / "steps-1.checkpoint").exists(), 5) and leader.poll() is None
    leader.terminate()
    assert leader.wait(20) == 143 and ended(others, within=2)


def test_a_worker_that_does_not_stop_is_ended_after_a_while(crew, tmp_path):
    leader = crew("stuck", GRACE="0.5")
    assert at_work(tmp_path, 1)
    others = descendants(leader.pid)
    leader.send_signal(signal.SIGINT)
    assert leader.wait(15) == 130 and ended(others, within=2)


def test_an_exception_in_the_leader_ends_all_and_lets_runs_write_a_checkpoint(crew, tmp_path):
    leader = crew("ends", "steps", RAISES="yes")
    assert until(lambda: leader.poll() is not None, 30)
    assert leader.returncode == 1 and "in the leader" in leader.stderr.read()
    assert (tmp_path / "steps-1.checkpoint").exists()


def test_a_worker_that_is_killed_loses_nothing_but_its_job_which_is_tried_again_alone(crew, tmp_path):
    leader = crew("dies1", "ends", "asked", "wrong", "leaves", "dies2")
    out, err = leader.communicate(timeout=30)
    assert leader.returncode == 0, err
    first, second, third, wrong, left, killed = json.loads(out)
    assert (first, second, third) == ("dies1-0", "ends-1", "asked-2")
    assert "KeyError" in wrong["words"] and "Traceback" in wrong["trace"]
    assert "exit status 3" in left["words"]
    assert all(words in killed["words"] for words in ("SIGKILL", "memory", "compare.workers=2", "--resume"))
    assert "job dies1: its process was killed by SIGKILL" in err and "tried again alone" in err
    assert "job asked: its process was ended by SIGTERM" in err
    assert len((tmp_path / "dies2-5.lines").read_text().splitlines()) == 2
