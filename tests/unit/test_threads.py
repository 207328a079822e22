"""Threads: physical cores, and no more."""

import os
import subprocess
import sys

import pytest

from scalpel.runs.threads import cores, settle


@pytest.mark.parametrize(("siblings", "expected"), [("0,1", 1), (None, 2)])
def test_logical_cores_of_one_physical_core_count_once(tmp_path, monkeypatch, siblings, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    for n in (0, 1):
        (at := tmp_path / f"cpu{n}" / "topology").mkdir(parents=True)
        (at / "thread_siblings_list").write_text(siblings or str(n))
    assert cores(tmp_path) == expected


def test_only_cores_that_the_process_may_use_count(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert cores(tmp_path) == 1  # nothing is said of siblings there


def test_a_fresh_process_gets_the_threads_it_is_given_and_runs_one_operation_at_a_time():
    code = (
        "from scalpel.runs.threads import settle; settle(3); import os, torch;"
        "print(torch.get_num_threads(), torch.get_num_interop_threads(), os.environ['TOKENIZERS_PARALLELISM'])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["3", "1", "false"]


def test_settling_again_is_no_error(monkeypatch):
    import torch

    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    before = torch.get_num_threads()
    settle(before)
    settle(before)
    assert torch.get_num_threads() == before
