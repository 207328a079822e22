"""Several sources with shares: every row is used, and each source is its share of what is drawn."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scalpel import tasks
from scalpel.config.recipe import parse
from scalpel.experiments.data_inventory import inventory


@pytest.fixture
def sources(tmp_path: Path) -> list[dict[str, Any]]:
    for name, n in (("a", 60), ("b", 10)):
        rows = [{"prompt": f"{name}{i}", "completion": name, "answer": name} for i in range(n)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = [{"name": "jsonl", "path": str(tmp_path / f"{name}.jsonl"), "verify": "exact"} for name in "ab"]
    return [{**made[0], "share": 3}, {**made[1], "share": 1}]


def whole(sources: list[dict[str, Any]]) -> tasks.Mix:
    task = tasks.make({"name": "mix", "sources": [{**s, "shares": {"train": 1}} for s in sources]})
    assert isinstance(task, tasks.Mix)
    return task


def test_every_row_comes_and_the_shares_are_kept(sources: list[dict[str, Any]]) -> None:
    task = whole(sources)
    rows = task.examples("train", task.size("train"), seed=1)
    counts = Counter(e.prompt for e in rows)
    assert len(rows) == 80 and len(counts) == 70  # 60 rows are three quarters of 80; ten rows twice are the rest
    assert sum(n for prompt, n in counts.items() if str(prompt).startswith("b")) == 20
    assert task.examples("train", 80, seed=1) == rows != task.examples("train", 80, seed=2)
    few = Counter(str(e.prompt)[0] for e in task.examples("train", 8))
    assert few == {"a": 6, "b": 2}


def test_completions_are_judged_by_their_own_source(sources: list[dict[str, Any]]) -> None:
    task = whole(sources)
    assert all(task.score(str(e.completion), e) == 1.0 for e in task.examples("train", 80))
    assert len({e.id for e in task.examples("train", 80)}) == 70


def test_a_recipe_says_what_is_repeated_and_divides_what_others_ask(sources: list[dict[str, Any]]) -> None:
    probe = {"name": "p", "task": {k: v for k, v in sources[0].items() if k != "share"}}
    tables = {"model": "m", "task": {"name": "mix", "sources": sources}, "train": {"method": "sft"}}
    made = parse({**tables, "measure": {"probes": [probe]}})
    assert [s["shares"] for s in made.task["sources"]] == [{"train": 0.9, "test": 0.1}, {"train": 1.0}]
    found = inventory(parse(tables))
    assert any("b.jsonl has 10 rows for training, and 20 of 80 items are its own (25%)" in note for note in found.notes)
    assert [(line.given, line.rows, line.used) for line in found.lines] == [(70, 80, 80)]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "needs sources, a list of tasks with shares"),
        ({"sources": [1]}, "needs sources, a list of tasks with shares"),
        ({"sources": [{"name": "world/sort", "share": 0}]}, "a share is 0: it must be a number above 0"),
        ({"sources": [{"name": "world/sort"}]}, "has no data set in it"),
        ({"sources": [{"name": "world/sort"}], "path": "x"}, "unknown key 'path'"),
    ],
)
def test_a_mixture_that_can_not_be_is_refused(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tasks.make({"name": "mix", **spec})
