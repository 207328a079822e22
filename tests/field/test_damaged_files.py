"""Files of a run that were cut short, emptied or changed: each is named in one sentence, and nothing ends in a
traceback. Values are replaced one by one, at any depth."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from folders import Truth, write_comparison, write_run
from scalpel.evaluation import comparison, load
from scalpel.evaluation.ledger import read as read_ledgers
from scalpel.experiments import failures
from scalpel.experiments.tuning import Tuning
from scalpel.reporting import terminal, write
from scalpel.runs.atomic import write_json
from scalpel.runs.folder import RunFolder
from scalpel.runs.json_files import NUMBER, read_json, read_jsonl, refuse_other_shape

NO_JSON = [b"", b"{", b"\xff\xfe\x00", b"[" * 30000, b'{"a": ' + b"9" * 5000 + b"}"]
NO_OBJECT = [b"[]", b"3", b"null", b'"x"', b"[{}]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "one", Truth(0.9, 0.5), 0, 12)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_comparison(tmp_path_factory.mktemp("runs") / "arms", {"sft": Truth(0.9, 0.5)}, items=12)
    write_json(folder / "comparison.json", comparison(load(folder), failed={"ppo": "it gave NaN"}))
    return folder


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalpel.reporting.page.get_plotlyjs", lambda: "")


def reported(folder: Path) -> None:
    terminal(folder, Console(file=StringIO()))
    write(folder)


def refused(read: Callable[[], object], name: str) -> str:
    """What is said; it must be a plain ValueError that names the file."""
    with pytest.raises(ValueError) as error:
        read()
    assert type(error.value) is ValueError and name in str(error.value), repr(error.value)
    return str(error.value)


@pytest.mark.parametrize("content", [*NO_JSON, *NO_OBJECT], ids=lambda content: ascii(content[:12]))
@pytest.mark.parametrize("name", ["summary.json", "ledger/summary.json", "environment.json"])
def test_a_report_names_the_file_that_is_no_json_or_no_object(run: Path, name: str, content: bytes) -> None:
    with changed(run / name, content):
        refused(lambda: reported(run), name)


@pytest.mark.parametrize("name", ["metrics.jsonl", "ledger/facts.jsonl"])
@pytest.mark.parametrize("content", [*NO_JSON[1:], *NO_OBJECT], ids=lambda content: ascii(content[:12]))
def test_a_report_names_file_and_line_of_a_record_that_is_damaged(run: Path, name: str, content: bytes) -> None:
    whole = (run / name).read_bytes()
    with changed(run / name, whole + content + b"\n"):
        said = refused(lambda: reported(run), name)
    assert b"\xff" in content or f"{name}:{whole.count(10) + 1}" in said


def test_a_ledger_that_lost_lines_is_noticed(run: Path) -> None:
    path = run / "ledger/facts.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in (0, 5, len(lines) - 1):
        with changed(path, b"".join(lines[:kept])):
            assert f"holds {kept} items, but summary.json beside it counts 12" in refused(
                lambda: reported(run), path.name
            )


def test_a_folder_in_place_of_a_file_is_named(run: Path) -> None:
    path = run / "summary.json"
    whole = path.read_bytes()
    path.unlink()
    path.mkdir()
    try:
        with pytest.raises(ValueError, match="is a folder, but must be a file"):
            read_json(path)
    finally:
        path.rmdir()
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["summary.json", "ledger/summary.json", "comparison.json"])
def test_no_value_of_a_wrong_kind_ends_a_report_in_a_traceback(name: str, run: Path, compared: Path) -> None:
    folder = compared if name == "comparison.json" else run
    whole = json.loads((folder / name).read_text())
    places = list(inside(whole))
    for place in random.Random(0).sample(places, 3):
        for value in ([], "x", -1):
            found = copy.deepcopy(whole)
            at: Any = found
            for key in place[:-1]:
                at = at[key]
            at[place[-1]] = value
            with changed(folder / name, json.dumps(found).encode()):
                try:
                    reported(folder)
                except ValueError as error:
                    assert folder.name in str(error)


def inside(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key in value if isinstance(value, dict) else range(min(1, len(value))) if isinstance(value, list) else ():
        yield (*place, key)
        yield from inside(value[key], (*place, key))


class changed:
    """Another content of a file, for as long as it is looked at."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content = path, content

    def __enter__(self) -> None:
        self.whole = self.path.read_bytes()
        self.path.write_bytes(self.content)

    def __exit__(self, *error: object) -> None:
        self.path.write_bytes(self.whole)


@pytest.mark.parametrize("content", [*NO_JSON, *NO_OBJECT, b"{}"], ids=lambda content: ascii(content[:12]))
def test_what_a_resumed_comparison_reads_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tuning.json").write_bytes(content)
    refused(lambda: Tuning.at(tmp_path / "tuning.json"), "tuning.json")
    (tmp_path / "comparison.json").write_bytes(content if content != b"{}" else b'{"failures": [{"arm": 3}]}')
    refused(lambda: failures.recorded(tmp_path), "comparison.json")


@pytest.mark.parametrize("content", [*NO_JSON, *NO_OBJECT], ids=lambda content: ascii(content[:12]))
def test_what_a_resumed_run_reads_is_named(tmp_path: Path, content: bytes) -> None:
    made = RunFolder(tmp_path / "run")
    (made.folder / "stopped.json").write_bytes(content)
    refused(made.may_change, "stopped.json")
    made.checkpoint(2, {"x": 1})
    (made.folder / "metrics.jsonl").write_bytes(b'{"kind": "train"}\n' + content + b"\n")
    refused(lambda: made.records("train"), "metrics.jsonl")
    last = made.checkpoints()[-1]
    (last / "digests.json").write_bytes(content)
    refused(made.last_checkpoint, "digests.json")
    (last / "digests.json").unlink()  # as an earlier version wrote it
    (last / "state.json").write_bytes(content)
    refused(made.last_checkpoint, "state.json")


def test_an_entry_of_a_wrong_kind_is_named_with_its_place(run: Path) -> None:
    path = run / "ledger/facts.jsonl"
    first, *rest = path.read_text().splitlines(keepends=True)
    with changed(path, (json.dumps({**json.loads(first), "after": "yes"}) + "\n" + "".join(rest)).encode()):
        said = refused(lambda: read_ledgers(run), "facts.jsonl:1")
    assert 'after is "yes", but must be true or false or null' in said


def test_shapes_are_told_apart() -> None:
    shape = {"a": NUMBER, "b?": [str], "c?": ({"d": int}, type(None)), ...: (str, bool)}
    for fits in ({"a": 1}, {"a": 0.5, "b": []}, {"a": 1, "b": ["x"], "c": None}, {"a": 1, "c": {"d": 2}, "e": True}):
        refuse_other_shape(fits, shape, "f")
    for other in ([], {}, {"a": True}, {"a": "1"}, {"a": 1, "b": [2]}, {"a": 1, "c": {}}, {"a": 1, "e": 3}):
        with pytest.raises(ValueError, match="^f: "):
            refuse_other_shape(other, shape, "f")


def test_a_line_of_a_file_that_a_user_wrote_is_to_be_mended_not_run_again(tmp_path: Path) -> None:
    (tmp_path / "choices.jsonl").write_text('{"a": 1}\n{')
    with pytest.raises(ValueError, match=r"choices.jsonl:2 is not JSON.*line 1, column 2\): mend it"):
        read_jsonl(tmp_path / "choices.jsonl", mend="mend it")
