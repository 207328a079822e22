"""Run folders: what is written is whole, or is not there."""

import errno
import json
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpel.runs import folder as run_folder
from scalpel.runs.folder import (
    RunFolder,
    flatten,
    load_state,
    save_state,
    unflatten,
    whole,
    write_text,
)

leaves = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=4)
tensors = st.sampled_from([torch.zeros(0), torch.tensor(3.5), torch.arange(4), torch.eye(2, dtype=torch.bfloat16)])
trees = st.recursive(
    leaves | tensors,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=10,
)


def alike(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(alike, a, b))
    return type(a) is type(b) and a == b


@given(trees)
def test_a_tree_of_tensors_and_values_comes_back_through_json(tree):
    found: dict = {}
    text = json.dumps(flatten(tree, "", found))
    assert alike(tree, unflatten(json.loads(text), found))


@settings(max_examples=10, deadline=None)
@given(tree=st.dictionaries(st.text(max_size=3), trees, max_size=3))
def test_a_saved_state_comes_back_bit_for_bit(tmp_path_factory, tree):
    folder = tmp_path_factory.mktemp("state") / "s"
    save_state(folder, tree)
    assert alike(tree, load_state(folder))


def test_what_no_checkpoint_can_hold_is_our_own_mistake():
    with pytest.raises(AssertionError, match="/a is a set"):
        flatten({"a": {1}}, "", {})


def left_in(folder):
    return sorted(p.name for p in folder.rglob("*"))


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_while_saving_is_said_in_words_and_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    run = RunFolder(tmp_path / "run")
    run.checkpoint(1, {"x": torch.ones(3)})
    before = left_in(tmp_path)
    monkeypatch.setattr(run_folder, "save_file", full)
    with pytest.raises(OSError, match=r"could not write .*checkpoint-2.*No space left.*free some space.*--resume"):
        run.checkpoint(2, {"x": torch.zeros(3)})
    assert left_in(tmp_path) == before
    assert run.last_checkpoint()["x"].tolist() == [1.0, 1.0, 1.0]


def test_a_full_disk_between_two_files_of_a_checkpoint_leaves_neither(tmp_path, monkeypatch):
    run = RunFolder(tmp_path / "run")
    run.checkpoint(1, {"x": 1})
    before = left_in(tmp_path)
    monkeypatch.setattr(run_folder.Path, "write_text", full)  # the tensors are written by then
    with pytest.raises(OSError, match="No space left"):
        run.checkpoint(2, {"x": 2})
    assert left_in(tmp_path) == before


def test_a_file_that_safetensors_can_not_write_is_said_in_the_same_words(tmp_path):
    # a limit on the size of files makes the real writer fail, as a full disk would
    script = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from scalpel.runs.folder import RunFolder\n"
        "run = RunFolder(Path(sys.argv[1]))\n"
        "run.checkpoint(1, {'x': torch.ones(3)})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n"
        "    run.checkpoint(2, {'x': torch.ones(100000)})\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert "could not write" in done.stdout and "File too large" in done.stdout, done.stderr
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-1"]


def test_a_failure_while_a_folder_is_replaced_puts_the_old_one_back(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    with whole(target) as draft:
        draft.mkdir()
        (draft / "old").write_text("old")
    replace, calls = os.replace, []

    def second_fails(a, b):
        calls.append(a)
        if len(calls) == 2:
            full()
        replace(a, b)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OSError, match="No space left"), whole(target) as draft:
        draft.mkdir()
        (draft / "new").write_text("new")
    assert left_in(tmp_path) == ["folder", "old"]


def test_an_error_of_another_kind_passes_and_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), whole(tmp_path / "x") as draft:
        draft.write_text("half")
        _ = 1 / 0
    assert left_in(tmp_path) == []


def test_only_the_last_checkpoints_are_kept(tmp_path):
    run = RunFolder(tmp_path)
    for step in (1, 2, 10):
        run.checkpoint(step, {"step": step})
    assert [p.name for p in run.checkpoints()] == ["checkpoint-2", "checkpoint-10"]
    assert run.last_checkpoint() == {"step": 10, "lines": 0}


def test_a_run_is_not_written_over(tmp_path):
    RunFolder(tmp_path).log({"step": 1})
    with pytest.raises(ValueError, match=r"already holds a run: continue it with --resume, or choose another"):
        RunFolder(tmp_path)
    RunFolder(tmp_path, resume=True)


def test_a_resumed_run_keeps_what_was_recorded_until_its_checkpoint_and_no_line_cut_short(tmp_path):
    run = RunFolder(tmp_path)
    for step in (0, 1, 2):
        run.log({"kind": "train", "step": step})
    run.checkpoint(2, {})
    run.log({"kind": "probe", "step": 2})
    with (tmp_path / "metrics.jsonl").open("a") as lines:
        lines.write('{"step": 3, "loss')
    assert [r["step"] for r in run.records("train")] == [0, 1, 2] and run.last_record("probe")["step"] == 2
    run.keep(run.last_checkpoint()["lines"], 2)
    assert [json.loads(x)["step"] for x in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [0, 1, 2]
    assert not run.records("probe")


def test_what_a_killed_writer_left_is_cleared_away_on_resume(tmp_path):
    run = RunFolder(tmp_path)
    run.checkpoint(1, {"x": 1})
    (tmp_path / "checkpoints" / ".checkpoint-2.99.part").mkdir()
    assert [p.name for p in RunFolder(tmp_path, resume=True).checkpoints()] == ["checkpoint-1"]
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-1"]


def test_text_is_replaced_whole(tmp_path):
    write_text(tmp_path / "a", "one")
    write_text(tmp_path / "a", "two ü")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "two ü"
