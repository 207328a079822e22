"""What exists is never destroyed or mixed: where a run may write, who else is there, and names that become paths."""

import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from processes import until
from scalpel.config.recipe import parse
from scalpel.runs.files import apart, file_names, path_name
from scalpel.runs.lock import locked
from scalpel.runs.targets import claimed

RUN = {"recipe.toml": "", "environment.json": "{}", "metrics.jsonl": '{"kind": "train", "step": 1}\n'}


def filled(folder, files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def content(folder):
    return {str(p.relative_to(folder)): p.read_text() if p.is_file() else None for p in folder.rglob("*")}


FOREIGN = {
    "holds a model": {"config.json": "{}", "model.safetensors": ""},
    "holds a ledger": {"ledger/summary.json": "{}"},
    "files that are no run": {"recipe.toml": "", "model/config.json": "{}", "data.jsonl": ""},
    "holds a model, beside": {**RUN, "config.json": "{}"},
    "are no run .*metrics": {"metrics.jsonl": "mine\n"},
}


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("words", FOREIGN)
def test_a_folder_that_holds_something_else_is_no_target_and_stays_as_it_was(tmp_path, words, resume):
    folder = filled(tmp_path / "f", FOREIGN[words])
    before = content(folder)
    with pytest.raises(ValueError, match=words.partition(",")[0]), claimed(folder, "run", resume=resume):
        raise AssertionError("it was taken")
    assert content(folder) == before


def test_a_file_is_no_target(tmp_path):
    (tmp_path / "f").write_text("mine")
    with pytest.raises(ValueError, match="is a file"), claimed(tmp_path / "f", "run", resume=True):
        pass


def test_a_run_is_gone_on_with_only_when_that_is_said_and_only_in_its_kind(tmp_path):
    folder = filled(tmp_path / "f", RUN)
    before = content(folder)
    with pytest.raises(ValueError, match="already holds a run: continue it with --resume"), claimed(folder, "run"):
        pass
    with pytest.raises(ValueError, match="holds a run, not a comparison"), claimed(folder, "comparison", resume=True):
        pass
    filled(tmp_path / "c", {"recipe.toml": "", "environment.json": "{}", "before.json": "{}"})
    with pytest.raises(ValueError, match="holds a comparison, not a run"), claimed(tmp_path / "c", "run", resume=True):
        pass
    with claimed(folder, "run", resume=True) as begun:
        assert begun
    assert content(folder) == before


def test_what_fails_before_its_first_step_leaves_nothing_and_takes_nothing_that_was_there(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "new" / "er", tmp_path / "empty"):
        with pytest.raises(ZeroDivisionError), claimed(folder, "run") as begun:
            filled(folder, {"recipe.toml": "", "environment.json": "{}"})
            assert not begun
            _ = 1 / 0
    assert content(tmp_path) == {"empty": None}
    folder = filled(tmp_path / "run", RUN)
    before = content(folder)
    with pytest.raises(ZeroDivisionError), claimed(folder, "run", resume=True):
        _ = 1 / 0
    assert content(folder) == before


def test_a_run_that_was_killed_as_it_began_can_be_begun_again(tmp_path):
    for kind in ("run", "comparison"):
        left = {"recipe.toml": "", ".lock": '{"pid": 1}', ".environment.json.9999999.part": "{"}
        with claimed(filled(tmp_path / kind, left), kind, resume=True) as begun:
            assert begun


# --- locks ----------------------------------------------------------------------------------------------------


def test_a_second_one_in_the_same_folder_is_refused_with_who_is_there(tmp_path):
    with locked(tmp_path):
        words = rf"in use by process {os.getpid()} on .*since .*--out"
        with pytest.raises(ValueError, match=words), locked(tmp_path):
            pass
        with pytest.raises(ValueError, match=words), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_the_loser_of_a_race_for_a_new_folder_does_not_clear_away_the_winners(tmp_path):
    with claimed(tmp_path / "a" / "run", "run"):
        filled(tmp_path / "a" / "run", {"metrics.jsonl": ""})
        with pytest.raises(ValueError, match="in use|no run"), claimed(tmp_path / "a" / "run", "run"):
            pass
        assert (tmp_path / "a" / "run" / "metrics.jsonl").exists()


def test_a_lock_goes_with_the_process_that_was_killed_and_not_with_its_copies(tmp_path):
    context = multiprocessing.get_context("fork")
    ready, copy = context.Event(), context.Value("i")

    def hold() -> None:
        with locked(tmp_path):
            if (pid := os.fork()) == 0:  # a copy that outlives it
                while True:
                    signal.pause()
            copy.value = pid
            ready.set()
            while True:
                signal.pause()

    def free() -> bool:
        with suppress(ValueError), locked(tmp_path):
            return True
        return False

    holder = context.Process(target=hold)
    holder.start()
    assert ready.wait(30) and holder.pid
    with pytest.raises(ValueError, match=f"process {holder.pid} "), locked(tmp_path):
        pass
    try:
        os.kill(holder.pid, signal.SIGKILL)
        holder.join()
        assert until(free, 30)
    finally:
        os.kill(copy.value, signal.SIGKILL)


def test_a_refused_resume_leaves_the_lock_file_of_a_killed_process_as_it_was(tmp_path):
    (tmp_path / ".lock").write_text('{"pid": 7}')
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        _ = 1 / 0
    assert (tmp_path / ".lock").read_text() == '{"pid": 7}'


# --- names ----------------------------------------------------------------------------------------------------

BAD = [
    "",
    " ",
    ".",
    "..",
    "../../x",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\x1b[2Jb",
    ".x",
    "-rf",
    "x.",
    "é" * 101,
    "CON",
    "a ",
]


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_leads_out_of_its_folder_or_breaks_a_disk_is_refused(name):
    with pytest.raises(ValueError, match="the arm .* becomes a name on disk, but "):
        path_name(name, "the arm")


@pytest.mark.parametrize("name", ["sft", "sft-half", "a.b", "größer", "lr=1e-4", "two words", "con-1"])
def test_ordinary_names_are_names(name):
    assert path_name(name, "the arm") == name


def test_names_that_differ_in_large_letters_alone_share_a_place():
    with pytest.raises(ValueError, match="'SFT' differ only in case"):
        apart(["sft", "grpo", "SFT"], "arms")
    with pytest.raises(ValueError, match="share a place"):
        file_names(["a/b", "a:b"], "probe")
    with pytest.raises(ValueError, match="begins with a dot"):
        file_names(["../../x"], "probe")


def test_a_recipes_name_is_checked_with_the_recipe():
    tables = {"model": "world-1m", "task": {"name": "world/reverse"}}
    with pytest.raises(ValueError, match="name: the recipe's name '../../x' becomes a name on disk"):
        parse({"name": "../../x", **tables})


def test_folders_and_names_need_nothing_heavy():
    code = "import sys, scalpel.runs.files, scalpel.runs.targets; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
