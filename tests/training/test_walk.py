"""The walk over all methods and its table; `tests/method_battery.py` takes every method on its material."""

import json
from math import isfinite
from pathlib import Path

import pytest

import walk
from scalpel.methods import ROWS

DOCS = Path(__file__).parents[2] / "docs"
SMALL = "world-300k"


@pytest.fixture(scope="module")
def sums(tmp_path_factory) -> Path:
    return walk.prepare(tmp_path_factory.mktemp("sums"))


def test_a_row_of_the_table_says_what_two_steps_took_and_how_they_went(sums):
    found = walk.walked("sft", sums, SMALL, 2)
    assert found["error"] == "" and found["steps"] == found["trained"] == 2
    assert len(found["loss"]) == 2 and all(map(isfinite, [*found["loss"], *found["gradient_norm"]]))
    assert found["seconds"] > 0 and found["peak_memory_bytes"] > 0


def test_the_material_has_every_column_and_no_preferred_solution_is_also_rejected(sums):
    rows = [json.loads(line) for line in (sums / "rows.jsonl").read_text().splitlines()]
    assert set(rows[0]) == {"prompt", "completion", "answer", "chosen", "rejected", "label"}
    assert {row["label"] for row in rows} == {True, False}
    assert all(row["chosen"] != row["rejected"] and row["completion"].endswith("#" + row["answer"]) for row in rows)


def test_rows_that_are_paid_to_the_letter_see_two_answers_in_their_form(tmp_path):
    at = walk.prepare(tmp_path, n=8, ask=" Say it.")
    assert set(walk.FORMS) <= set(ROWS)
    plain = [json.loads(line) for line in (at / "rows.jsonl").read_text().splitlines()]
    shown = [json.loads(line) for line in (at / "cls-rl.jsonl").read_text().splitlines()]
    assert [turn["role"] for turn in shown[2]["prompt"]] == ["user", "assistant"] * 2 + ["user"]
    assert [shown[2]["prompt"][k] for k in (0, 2, 4)] == [plain[k]["prompt"][0] for k in (0, 1, 2)]
    assert shown[2]["prompt"][3]["content"].endswith(f"</think><answer>{plain[1]['answer']}</answer>")
    assert walk.recipe("cls-rl", at, SMALL, 1).task["path"] == str(at / "cls-rl.jsonl")
    assert walk.recipe("grpo", at, SMALL, 1).task["path"] == str(at / "rows.jsonl")


def test_a_row_that_fails_is_in_the_table_with_its_fault(sums, monkeypatch):
    monkeypatch.setattr(walk, "train", lambda *a, **k: 1 / 0)
    found = walk.walked("sft", sums, SMALL, 2)
    assert found["error"] == "ZeroDivisionError: division by zero" and found["loss"] == []
    assert walk.line(found)[-1] == found["error"]


def test_a_walk_adds_to_its_table_row_by_row(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(walk, "apart", walk.walked)
    options = ["--model", SMALL, "--ask", "", "--steps", "1", "--into", str(tmp_path)]
    assert walk.main(["sft", *options]) == 0 and walk.main(["dpo", *options]) == 0
    table = json.loads((tmp_path / "walk.json").read_text())
    assert list(table["rows"]) == ["sft", "dpo"] and (tmp_path / "walk.md").read_text() == walk.page(table)
    assert walk.asked([], table["rows"], missing=True) == [row for row in ROWS if row not in ("sft", "dpo")]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["`sft`", "`dpo`"]
    assert walk.main(["sft", "--model", SMALL, "--ask", "", "--steps", "2", "--into", str(tmp_path)]) == 0
    assert list(json.loads((tmp_path / "walk.json").read_text())["rows"]) == ["sft"], "other steps, another table"
    with pytest.raises(SystemExit, match="did you mean 'prefix-rft'"):
        walk.main(["prefix-rtf", *options])


def test_the_committed_table_is_fresh():
    written = (DOCS / "walk.md").read_text(encoding="utf-8")
    assert written == walk.page(json.loads((DOCS / "walk.json").read_text(encoding="utf-8")))
