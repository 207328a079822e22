"""Checkpoints and drafts: a byte that flipped is noticed, what a killed process left is cleared or put back, and files
are readable as their neighbours are."""

import json
import os
import subprocess
import sys

import pytest
import torch

from scalpel.runs import atomic as module
from scalpel.runs.atomic import clear_drafts, whole, write_text
from scalpel.runs.folder import RunFolder


@pytest.fixture
def run(tmp_path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    for step in (2, 4):
        made.checkpoint(step, {"x": torch.arange(float(step))})
    return made


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "digests.json"])
def test_a_flipped_byte_is_noticed_and_the_checkpoint_before_is_offered_by_name(run, name):
    path = run.checkpoints()[-1] / name
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}.*--checkpoint checkpoint-2"):
        run.last_checkpoint()
    assert run.last_checkpoint("checkpoint-2")["x"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
def test_a_file_that_is_gone_or_empty_is_noticed(run, name):
    path = run.checkpoints()[-1] / name
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="checkpoint-2"):
        run.last_checkpoint()
    path.unlink()
    with pytest.raises(ValueError, match=f"{name} is missing.*checkpoint-2"):
        run.last_checkpoint()


def test_when_all_are_damaged_another_folder_is_advised(run):
    for path in run.checkpoints():
        (path / "state.json").write_text("{}")
    with pytest.raises(ValueError, match="begin a new run in another folder"):
        run.last_checkpoint()


def test_a_checkpoint_that_is_not_there_is_refused_with_those_that_are(run):
    with pytest.raises(ValueError, match="no checkpoint 'checkpoint-3': there are checkpoint-2, checkpoint-4"):
        run.last_checkpoint("checkpoint-3")


def test_a_checkpoint_of_an_earlier_version_has_no_digests_and_is_read(run):
    (run.checkpoints()[-1] / "digests.json").unlink()
    assert len(run.last_checkpoint()["x"]) == 4


def test_files_are_as_readable_as_the_umask_lets_them_be(tmp_path):
    script = (
        "import os, sys, torch\n"
        "from pathlib import Path\n"
        "from scalpel.runs.folder import RunFolder\n"
        "os.umask(0o027)\n"
        "RunFolder(Path(sys.argv[1])).checkpoint(1, {'x': torch.ones(3)})\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3 and {path.stat().st_mode & 0o777 for path in files} == {0o640}


def dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_drafts_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path):
    gone, here = dead_pid(), os.getppid()
    for pid in (gone, here):
        (tmp_path / f".a.txt.{pid}.part").write_text("half")
        (tmp_path / f".model.{pid}.part").mkdir()
    (tmp_path / f".other.{gone}.part").write_text("of another name")
    write_text(tmp_path / "a.txt", "whole")
    left = {f".a.txt.{here}.part", f".model.{here}.part", f".model.{gone}.part", f".other.{gone}.part", "a.txt"}
    assert {path.name for path in tmp_path.iterdir()} == left
    clear_drafts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f".a.txt.{here}.part", f".model.{here}.part", "a.txt"}


@pytest.mark.parametrize(("names", "expected"), [(("old", "part"), "new"), (("old",), "old")])
def test_what_was_half_swapped_when_its_process_was_killed_is_there_again(tmp_path, names, expected):
    for name in names:
        draft = tmp_path / f".model.9999999.{name}"
        draft.mkdir()
        (draft / "weights").write_text("new" if name == "part" else "old")
    clear_drafts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "weights").read_text() == expected


def test_what_was_swapped_is_not_swapped_back(tmp_path):
    for name, text in (("model", "new"), (".model.9999999.old", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(text)
    clear_drafts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "weights").read_text() == "new"


def test_files_and_their_folder_are_on_the_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    order: list[str] = []
    own, replace = module.sync, os.replace
    monkeypatch.setattr(module, "sync", lambda path: (order.append(f"sync {path.name}"), own(path)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    with whole(tmp_path / "folder") as draft:
        draft.mkdir()
        (draft / "a").write_text("a")
    assert order == ["sync a", f"sync {draft.name}", "replace", f"sync {tmp_path.name}"]


def test_digests_are_those_of_the_files(run):
    folder = run.checkpoints()[-1]
    assert set(json.loads((folder / "digests.json").read_text())) == {"tensors.safetensors", "state.json"}
