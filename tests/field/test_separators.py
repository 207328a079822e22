"""Texts that hold other line separators than the newline stay one line of the run's own files, and one row."""

import json
from pathlib import Path

import pytest

from scalpel import tasks
from scalpel.config import recipe
from scalpel.data.example import Example, named
from scalpel.runs.folder import whole_lines
from scalpel.runs.json_files import read_jsonl, write_jsonl

SAID = "one\u2028two\u2029three\x85four\x0bfive\x1csix\x00"


def test_the_runs_own_files_are_read_back_whatever_the_texts_hold(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    write_jsonl(path, [{"output": SAID}, {"output": "b"}])
    assert read_jsonl(path) == [{"output": SAID}, {"output": "b"}]
    with path.open("a", encoding="utf-8") as file:
        file.write('{"output": "cut sh')
    assert [json.loads(line)["output"] for line in whole_lines(path)] == [SAID, "b"]


def test_a_row_of_data_ends_at_a_newline_only(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    rows = [{"prompt": SAID, "completion": SAID}, {"prompt": "q", "completion": "a"}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    task = tasks.make({"name": "jsonl", "path": str(path), "shares": {"train": 1}})
    assert {(e.prompt, e.completion, e.where) for e in task.examples("train", 9)} == {
        (SAID, SAID, f"{path}:1"),
        ("q", "a", f"{path}:2"),
    }


def test_a_recipe_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    text = '[model]\npath = "m"\n[task]\nname = "world/sort"\n[train]\nmethod = "sft"\n'
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert recipe.read(path).task == {"name": "world/sort"}


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (Example(id="9f2c", where="a.jsonl:3"), "a.jsonl:3"),
        (Example(id="mine"), "example 'mine'"),
        (Example(), "example 7"),
    ],
)
def test_an_example_is_named_by_where_it_stands(example: Example, words: str) -> None:
    assert named(example, 7) == words
    assert example == Example(id=example.id)  # where it stands is no part of what it is
