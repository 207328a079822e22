"""What becomes of the data is said in a table before step 1, and kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from scalpel.config.recipe import parse
from scalpel.experiments.data_inventory import inventory


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"prompt": f"p{i}", "completion": "x", "answer": "x"}) for i in range(100)]
    Path("sums.jsonl").write_text("\n".join(rows))
    Path("bad.jsonl").write_text("\n".join([*rows[:5], '{"prompt": 7}', '{"prompt": 8}']))
    Path("pairs.jsonl").write_text('{"good": "a", "bad": "b"}\n' * 3)


def recipe(task: dict[str, Any], probes: list[dict[str, Any]] | None = None, **more: Any) -> Any:
    tables = {"model": "m", "task": task, "train": {"method": "sft", "batch": 16}, **more}
    return parse({**tables, "measure": {"probes": probes}} if probes else tables)


SUMS = {"name": "jsonl", "path": "sums.jsonl"}


@pytest.mark.usefixtures("files")
def test_a_source_that_several_ask_is_said_with_counts() -> None:
    found = inventory(
        recipe(SUMS, [{"name": "sums", "task": SUMS}, {"name": "c", "kind": "choose", "path": "pairs.jsonl"}])
    )
    train, test, choice = found.lines
    assert train.given == train.readable == test.given == 100
    assert train.used + test.used == 100 and test.also_trained == 0 and choice.used == 3
    (note,) = found.notes
    words = f"sums.jsonl: 100 rows: {train.used} train, {test.used} test, since training and probe 'sums' use it"
    assert note == f"{words}; set shares or files to choose"
    rows = found.words.splitlines()
    assert rows[1].split() == ["source", "given", "readable", "split", "rows", "used"] and len(rows) == 6
    json.dumps(found.state(), allow_nan=False)


@pytest.mark.usefixtures("files")
def test_left_out_few_and_repeated_rows_are_said() -> None:
    dropped = inventory(recipe({"name": "jsonl", "path": "bad.jsonl", "faulty": "drop"}))
    assert (dropped.lines[0].given, dropped.lines[0].readable, dropped.lines[0].used) == (7, 5, 5)
    assert any("2 rows left out: prompt (first bad.jsonl:6)" in note for note in dropped.notes)
    assert "a step takes 16 rows of 5, so it takes some rows 4 times" in dropped.notes
    one = inventory(recipe(SUMS, data={"items": 1}))
    assert "training uses 1 of 100 rows of jsonl:sums.jsonl, since data.items = 1" in one.notes
    assert "a step takes 16 rows of 1, so it takes every row 16 times" in one.notes


@pytest.mark.usefixtures("files")
def test_rows_that_are_both_trained_and_asked_are_said() -> None:
    found = inventory(recipe(SUMS, [{"name": "memorised", "task": SUMS, "split": "train"}]))
    assert [line.used for line in found.lines] == [100, 100]
    assert any("probe 'memorised' asks 100 rows, of which 100 are trained on" in note for note in found.notes)
    copy = Path("copy.jsonl")
    copy.write_text(Path("sums.jsonl").read_text())
    leaked = inventory(recipe(SUMS, [{"name": "held", "task": {"name": "jsonl", "path": "copy.jsonl"}}]))
    assert leaked.lines[1].also_trained == 100


@pytest.mark.usefixtures("files")
def test_a_use_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"training: jsonl:sums.jsonl has no training items: its 100 rows are divided"):
        inventory(recipe({**SUMS, "shares": {"test": 1}}))


def test_items_that_are_made_are_said_with_their_number() -> None:
    found = inventory(recipe({"name": "world/sort"}))
    assert found.notes == ["world/sort generates its items: 1,024 of them, since data.items isn't set"]
    assert found.lines[0].given is None and "given" not in found.words  # a column in which nothing stands is left out
