"""`streaming = true`: rows on disk instead of in memory, and nothing else is different."""

from __future__ import annotations

import csv
import gzip
import json
import signal
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from running import equal, prepare, tables, weights
from scalpel.data.example import SPLITS
from scalpel.runs.folder import RunFolder
from scalpel.tasks import make
from scalpel.tasks.spool import Rows
from scalpel.training.loop import train

ROWS: list[dict[str, Any]] = [
    {"prompt": f"what is {i} + {i}?", "completion": f"{2 * i}", "answer": str(2 * i), "note": f"é{i}"}
    for i in range(60)
]
ROWS += [ROWS[3], ROWS[3], {**ROWS[4], "note": "says the same otherwise"}]  # the same content again: ids get numbers


def written(folder: Path, kind: str) -> Path:
    at = folder / f"rows.{kind}"
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    if kind == "jsonl":
        at.write_text(lines, encoding="utf-8")
    elif kind == "jsonl.gz":
        at.write_bytes(gzip.compress(lines.encode()))
    elif kind == "csv":
        with at.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(ROWS[0]))
            writer.writeheader()
            writer.writerows(ROWS)
    else:
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), at)
    return at


def both(**table: Any) -> tuple[Any, Any]:
    return make(table), make({**table, "streaming": True})


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "csv", "parquet"])
def test_streamed_rows_are_the_rows_in_the_same_order_and_splits(tmp_path, kind):
    held, streamed = both(name="file", path=str(written(tmp_path, kind)))
    assert held.account.state() == streamed.account.state()
    for split in SPLITS:
        for n, seed in ((1000, 0), (5, 0), (1000, 7)):
            a, b = held.examples(split, n, seed), streamed.examples(split, n, seed)
            assert isinstance(b, Rows) and list(a) == list(b) and [e.where for e in a] == [e.where for e in b]
    assert len({e.id for split in SPLITS for e in streamed.examples(split, 1000)}) == len(ROWS)


def test_an_instruction_is_put_to_streamed_rows_too(tmp_path):
    held, streamed = both(name="jsonl", path=str(written(tmp_path, "jsonl")), chat=True, system="Be brief.")
    assert list(streamed.examples("train", 99)) == held.examples("train", 99)
    assert streamed.examples("train", 99)[2:4][1] == held.examples("train", 99)[3]


def test_ids_of_the_user_s_own_stay_and_must_be_unique(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{i}", **ROWS[i]}) + "\n" for i in range(9)))
    held, streamed = both(name="jsonl", path=str(path), shares={"train": 1})
    assert [e.id for e in streamed.examples("train", 9)] == [e.id for e in held.examples("train", 9)]
    with path.open("a") as file:
        file.write(json.dumps({"id": "r4", **ROWS[10]}) + "\n")
    with pytest.raises(
        ValueError, match=r"rows.jsonl:10: the id 'r4' was there before, in .*rows.jsonl:5: ids must be"
    ):
        make({"name": "jsonl", "path": str(path), "streaming": True})


def test_faulty_rows_are_counted_and_refused_alike(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + '{"prompt": 3.5, "completion": []}\n' + json.dumps(ROWS[1]) + "\n")
    held, streamed = both(name="jsonl", path=str(path), shares={"train": 1}, faulty="drop")
    assert held.account.state() == streamed.account.state() and held.account.readable == 2
    with pytest.raises(ValueError, match="rows.jsonl:2"):
        make({"name": "jsonl", "path": str(path), "streaming": True})


@pytest.mark.parametrize("overlap", ["refuse", "drop"])
def test_a_row_of_two_files_is_refused_or_dropped_alike(tmp_path, overlap):
    for name, rows in (("train", ROWS[:20]), ("test", ROWS[15:30])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "test")}
    found = []
    for streaming in (False, True):
        table = {"name": "jsonl", "files": files, "overlap": overlap, "streaming": streaming}
        try:
            task = make(table)
            found.append([task.account.state(), *(list(task.examples(s, 99)) for s in ("train", "test"))])
        except ValueError as error:
            found.append([str(error)])
    assert found[0] == found[1] and ("5 rows" in str(found[0])) == (overlap == "refuse")


def test_a_mixture_of_streamed_sources_is_refused_with_the_way_out(tmp_path):
    table = {"name": "jsonl", "path": str(written(tmp_path, "jsonl")), "streaming": True, "shares": {"train": 1}}
    with pytest.raises(ValueError, match="is streamed, and a mixture holds its rows in memory: leave out streaming"):
        make({"name": "mix", "sources": [table, table]}).examples("train", 9)


@pytest.mark.parametrize("method", ["sft", "grpo", "rif"])
def test_a_run_on_streamed_rows_is_the_same_and_resumes_bit_for_bit(tmp_path, method):
    at = prepare(tmp_path)
    stage = {"method": method, "steps": 4, "checkpoint_every": 2}
    if method == "rif":
        stage["signals"] = {"0": {"source": {"size": 3}, "select": {"name": "learnable", "size": 4, "most": 2}}}
    recipe = tables(at, stage)
    streamed = tables(at, stage, task={**recipe.task, "streaming": True})
    expected = weights(train(recipe))
    assert equal(expected, weights(train(streamed)))
    with pytest.raises(KeyboardInterrupt):
        train(
            streamed,
            RunFolder(tmp_path / "run"),
            tell=lambda r: signal.raise_signal(signal.SIGINT) if r["step"] == 2 else None,
        )
    again = train(streamed, RunFolder(tmp_path / "run", True), resume=True)
    assert equal(expected, weights(again))
