"""A whole experiment, with its probes along the way, survives being killed: record, ledger and summary are the same."""

import json
import multiprocessing
import os
import signal

import pytest

from running import records, tables
from scalpel.experiments import single
from scalpel.experiments.single import run_recipe

STAGE = {"method": "grpo", "steps": 8, "checkpoint_every": 3}
PROBES = [{"name": "words", "task": {"name": "world/reverse"}, "n": 3, "max_tokens": 4}]


def recipe(at, **over):
    measure = {"probes": PROBES, "points": 3, "recovery_items": 2, "recovery_samples": 2}
    return tables(at, STAGE, measure=measure, **over)


def killed(made, folder, step: int) -> None:
    """Runs the experiment in a process of its own, which is killed once that step's record is written."""

    def die(self, record) -> None:
        if record["step"] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def run() -> None:
        single.Watcher.tell = die
        run_recipe(made, folder)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def written(folder, name: str):
    found = json.loads((folder / name).read_text())
    for key in ("seconds", "peak_memory_bytes"):
        found.get("cost", {}).pop(key, None)
    return found


@pytest.mark.parametrize("step", [2, 4, 8])
def test_an_experiment_that_was_killed_ends_as_if_it_never_was(at, tmp_path, step):
    made = recipe(at)
    run_recipe(made, tmp_path / "whole")
    log = records(tmp_path / "whole")
    assert [line["step"] for line in log if line["kind"] == "probe"] == [0, 1, 3, 6, 8]
    killed(made, tmp_path / "cut", step)
    run_recipe(made, tmp_path / "cut", resume=True)
    assert records(tmp_path / "cut") == log
    assert written(tmp_path / "cut", "summary.json") == written(tmp_path / "whole", "summary.json")
    assert (tmp_path / "cut/ledger/words.jsonl").read_text() == (tmp_path / "whole/ledger/words.jsonl").read_text()
    assert (tmp_path / "cut/delta.safetensors").read_bytes() == (tmp_path / "whole/delta.safetensors").read_bytes()


def test_a_refused_resume_leaves_the_recipe_of_the_run(at, tmp_path):
    made = recipe(at)
    killed(made, tmp_path, 4)
    before = (tmp_path / "recipe.toml").read_text()
    with pytest.raises(ValueError, match="started with another recipe"):
        run_recipe(recipe(at, seed=5), tmp_path, resume=True)
    assert (tmp_path / "recipe.toml").read_text() == before
