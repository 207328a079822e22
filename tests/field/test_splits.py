"""A file that a user names is used whole; it is divided only where training and others ask the same one."""

import json
from pathlib import Path
from typing import Any

import pytest

from scalpel import tasks
from scalpel.config.recipe import parse
from scalpel.config.row_shares import share_out, uses
from scalpel.data.example import items_of
from scalpel.evaluation import make_probes


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        rows = [{"prompt": f"{name}{i}", "completion": "x", "answer": "x"} for i in range(200)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def table(path: Any, **more: Any) -> dict[str, Any]:
    return {"name": "jsonl", "path": path, **more}


def probe(path: Any, name: str = "p", **more: Any) -> dict[str, Any]:
    return {"name": name, "task": table(path), **more}


def recipe(path: Any = "a.jsonl", probes: Any = (), **more: Any) -> dict[str, Any]:
    return {
        "model": "m", "task": table(path), "train": {"method": "sft"}, "measure": {"probes": list(probes)}, **more
    }  # fmt: skip


def shares(tables: dict[str, Any]) -> list[dict[str, float] | None]:
    """What each use of a task gets, training first."""
    return [use.table.get("shares") for use in uses(parse(tables).model_dump(by_alias=True, exclude_none=True))]


@pytest.mark.usefixtures("files")
def test_what_one_role_asks_is_used_whole() -> None:
    assert shares(recipe(probes=[probe("b.jsonl")])) == [{"train": 1.0}, {"test": 1.0}]
    made = parse(recipe(probes=[probe("b.jsonl")]))
    task = tasks.make(made.task)
    assert len(items_of(task, "train", made.data.items, 0, 1024)) == 200
    (ready,) = make_probes(made.measure.probes, "", tasks.make)
    assert len(ready.items()) == 200  # type: ignore[attr-defined]


@pytest.mark.usefixtures("files")
def test_what_training_and_others_ask_is_divided_and_nothing_is_left_over() -> None:
    both = {"train": 0.9, "test": 0.1}
    assert shares(recipe(probes=[probe("a.jsonl"), probe("./a.jsonl", "q")])) == [both] * 3
    kept = {"floor": 0.9, "sets": [{"name": "k", "task": table("a.jsonl")}]}
    three = {"train": 0.8, "keep": 0.1, "test": 0.1}
    got = shares(recipe(probes=[probe("a.jsonl")], keep=kept))
    assert all(x == three for x in got) and len(got) >= 3
    task = tasks.make(table("a.jsonl", shares=three))
    sizes = [task.size(split) for split in ("train", "tune", "keep", "test")]  # type: ignore[attr-defined]
    assert sum(sizes) == 200 and sizes[1] == 0


@pytest.mark.usefixtures("files")
def test_the_rows_of_the_test_split_are_the_same_whoever_else_asks() -> None:
    few, many = ({"train": 0.9, "test": 0.1}, {"train": 0.7, "tune": 0.1, "keep": 0.1, "test": 0.1})
    asked_by = [{e.prompt for e in tasks.make(table("a.jsonl", shares=s)).examples("test", 999)} for s in (few, many)]
    assert asked_by[0] == asked_by[1]


@pytest.mark.usefixtures("files")
def test_a_probe_of_what_is_trained_asks_rows_that_are_trained() -> None:
    made = parse(recipe(probes=[probe("a.jsonl", "memorised", split="train")]))
    trained = {e.id for e in tasks.make(made.task).examples("train", 999)}
    (ready,) = make_probes(made.measure.probes, "", tasks.make)
    assert {e.id for e in ready.items()} == trained and len(trained) == 200  # type: ignore[attr-defined]


@pytest.mark.usefixtures("files")
def test_validation_and_the_tuning_of_rates_ask_too() -> None:
    assert shares(recipe(train={"method": "sft", "validate": {"every": 1}}))[0] == {"train": 0.9, "tune": 0.1}
    arms = {"arms": [{"name": "x", "method": "sft"}], "learning_rates": [1e-3, 1e-4]}
    tables = recipe(probes=[probe("b.jsonl"), probe("c.jsonl", "q")], compare=arms)
    assert shares(tables) == [{"train": 1.0}, *[{"tune": 0.1, "test": 0.9}] * 2, {"test": 1.0}]


@pytest.mark.usefixtures("files")
def test_what_the_user_said_is_left_alone_and_goes_for_others_too() -> None:
    own = {"train": 0.5, "test": 0.5}
    assert shares(recipe(probes=[probe("a.jsonl")], task=table("a.jsonl", shares=own))) == [own, own]
    alone = recipe(probes=[probe("a.jsonl")], task=table("a.jsonl", shares={"train": 1}))
    assert shares(alone) == [{"train": 1}, {"test": 1.0}]
    named = {"name": "jsonl", "files": {"train": "a.jsonl", "test": "b.jsonl"}}
    assert shares(recipe(task=named)) == [None]


@pytest.mark.usefixtures("files")
def test_patterns_and_lists_that_share_a_file_are_one_source() -> None:
    assert shares(recipe(["a.jsonl", "b.jsonl"], [probe("[bc].jsonl")])) == [{"train": 0.9, "test": 0.1}] * 2
    assert shares(recipe("a.*", [probe("[bc].jsonl")])) == [{"train": 1.0}, {"test": 1.0}]


@pytest.mark.usefixtures("files")
def test_a_resolved_recipe_says_what_was_done_and_is_read_as_it_is() -> None:
    once = parse(recipe(probes=[probe("a.jsonl")]))
    assert once.task["shares"] == {"train": 0.9, "test": 0.1}
    assert parse(once.model_dump(by_alias=True, exclude_none=True)) == once


@pytest.mark.usefixtures("files")
def test_arms_of_a_comparison_and_signals_of_their_own_count() -> None:
    signal = {"source": "demonstrations", "objective": "nll", "task": table("b.jsonl")}
    arms = {"arms": [{"name": "replay", "signals": [signal]}, {"name": "sft", "method": "sft"}]}
    tables = recipe(probes=[probe("b.jsonl")], compare=arms)
    del tables["train"]
    made = parse(tables)
    assert made.measure.probes[0]["task"]["shares"] == {"train": 0.8, "tune": 0.1, "test": 0.1}
    assert made.task["shares"] == {"train": 1.0}


@pytest.mark.parametrize(
    "odd",
    [
        {"task": 7}, {"task": {"name": ["jsonl"], "path": "a"}}, {"task": table(7)}, {"task": table([7])},
        {"task": table("\0")}, {"task": table("~nobody/x")}, {"task": {"name": "hub", "path": {}, "subset": []}},
        {"measure": 1}, {"measure": {"probes": {"a": 1}}}, {"measure": {"probes": [3, {"task": 1}, {"split": []}]}},
        {"compare": {"arms": {}, "shared": 1}}, {"keep": {"sets": [[]]}}, {"stages": 3}, {"data": []},
        {"stages": [{"signals": {"0": {"task": table("x")}}}, 1]},
        {"task": {"name": "mix", "sources": [1, table("x")]}},
    ],
)  # fmt: skip
def test_tables_that_are_none_are_left_for_others_to_refuse(odd: dict[str, Any]) -> None:
    share_out({"task": table("nowhere.jsonl"), "stages": [{"method": "sft"}], **odd})


def test_tasks_that_make_their_items_keep_a_number() -> None:
    made = parse({"model": "m", "task": {"name": "world/sort"}, "train": {"method": "sft"}})
    assert "shares" not in made.task and made.data.items is None
    assert len(items_of(tasks.make(made.task), "train", made.data.items, 0, 24)) == 24
