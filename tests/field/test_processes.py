"""A real comparison whose leader is killed: nobody computes on, and resumed it ends as if nothing had happened."""

from __future__ import annotations

import json
import signal
import sys

import pytest

import scalpel as package
import scalpel.training.loop as training
import tiny
from command_line import OPENED, PROBES, Place
from processes import descendants, ended, launched, until

COMPARISON = f"""
name = "arms"{OPENED}[compare]
seeds = [0]
budget = "steps"
shared = {{batch = 2, steps = 60, checkpoint_every = 10, sampling = {{max_tokens = 2}}}}
arms = [{{name = "sft", method = "sft"}}, {{name = "half", method = "sft", scope = "hft"}}]
[measure]
points = 1
recovery_samples = 1
recovery_items = 1
{PROBES}"""
LEADER = """
import sys
from scalpel.experiments import workers

if __name__ == "__main__":
    workers.cores = lambda: 2
    from scalpel.cli.app import app

    app(sys.argv[1:])
"""


@pytest.fixture
def scalpel(tmp_path, monkeypatch) -> Place:
    tiny.folder(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("scalpel.experiments.workers.cores", lambda: 1)
    place = Place(tmp_path)
    place.write("compare.toml", COMPARISON)
    place.write("leader.py", LEADER)
    return place


def records(folder) -> dict[str, list]:
    """Every run's lines, less the clock."""
    found = {}
    for path in sorted(folder.glob("arms/*/*/metrics.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found[str(path.relative_to(folder))] = [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
def test_a_comparison_whose_leader_is_killed_leaves_nobody_at_work_and_resumes_as_if_nothing_had_happened(scalpel):
    folder = scalpel.folder / "cut"
    leader = launched("leader.py", "compare", "compare.toml", "--out", folder)
    started = until(lambda: len({p.parent for p in folder.glob("arms/*/*/checkpoints/checkpoint-*")}) == 2, 120)
    others = descendants(leader.pid)
    leader.kill()
    said = leader.communicate()[1]
    assert started and not list(folder.glob("comparison.json")), said
    assert len(others) >= 3 and ended(others, within=60)

    package.compare("compare.toml", out="whole")
    package.compare("compare.toml", out="cut", resume=True)
    whole, cut = scalpel.folder / "whole", folder
    assert records(whole) == records(cut)
    for name in ("delta.safetensors", "ledger/say.jsonl", "ledger/text.jsonl"):
        for path in whole.glob(f"arms/*/*/{name}"):
            assert path.read_bytes() == (cut / path.relative_to(whole)).read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_signals_than_ctrl_c_write_a_checkpoint_too(scalpel, monkeypatch, number, code):
    real = training.take_step

    def taken(run, stage, state, *step):
        if state.step == 2:
            signal.raise_signal(number)
        return real(run, stage, state, *step)

    with monkeypatch.context() as patch:
        patch.setattr(training, "take_step", taken)
        ran = scalpel("compare", "compare.toml", "--out", "out")
    assert ran.code == code and "--resume" in ran.said and "Traceback" not in ran.err
    assert (scalpel.folder / "out/arms/sft/seed-0/checkpoints/checkpoint-3").is_dir()


def test_outside_the_loop_they_stop_at_once_and_a_hangup_that_is_ignored_stays_so(scalpel, monkeypatch):
    def interrupted(*arguments, **named):
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("scalpel.models.load", interrupted)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        ran = scalpel("compare", "compare.toml", "--out", "out")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ran.code == 143 and "Traceback" not in ran.err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
