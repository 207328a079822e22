"""Every number that a run logs is in the document, and every name in the document is logged by some run."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from running import tables
from scalpel.methods import ROWS
from scalpel.registry import AXES
from scalpel.training.loop import train

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
CHECKED = {"every": 1, "items": 2}
ENDING = {"sampling": {"max_tokens": 24, "temperature": 1.0}}  # so that some samples of a random model come to an end
STAGES = [stage for row in ROWS.values() for stage in (*row.before, row.stage, *row.after)]
SIGNALS = sorted({signal["name"] for stage in STAGES for signal in stage.get("signals", ()) if "name" in signal})


def objectives(stage: Mapping[str, Any]) -> list[str]:
    """The names of its objectives."""
    said = [signal.get("objective") for signal in stage.get("signals", ())]
    return [str(o["name"]) if isinstance(o, Mapping) else str(o) for o in said]


def documented() -> set[str]:
    """The names in the first column of the document's tables."""
    found = set()
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            found.update(re.findall(r"`([^`]+)`", line.split("|")[1]))
    return found


@pytest.fixture(scope="module")
def logged(at) -> set[str]:
    """The names that two steps of every row log, with either anchor, of objectives that no row has, of rows that are
    too long, and under a floor; the names of signals, reward functions and keep sets removed."""
    names: set[str] = set()

    def tell(record) -> None:
        for key in record:
            key = re.sub(rf"^({'|'.join(SIGNALS)}|keep(?=/kl))/", "", key)
            names.add(re.sub(r"^rewards/[^/]+/", "rewards/<function>/", key))

    for method in ROWS:
        for anchor in ("kl", "l2"):
            train(tables(at, {"method": method, "steps": 2, "anchors": [anchor], "validate": CHECKED}), tell=tell)
    train(tables(at, {"method": "weak-to-strong", "steps": 2, **ENDING}), tell=tell)
    for anchor in ({"name": "adaptive-kl", "target": 0.1}, {"name": "elastic", "texts": 2}):
        train(tables(at, {"method": "sft", "steps": 2, "anchors": [anchor]}), tell=tell)
    for objective in sorted(AXES["objective"].keys() - {name for stage in STAGES for name in objectives(stage)}):
        signals = [{"source": "demonstrations", "objective": objective}]
        train(tables(at, {"signals": signals, "steps": 2}), tell=tell)
    for policy in ("drop", "keep_end"):
        short = {"method": "sft", "steps": 8, "batch": 1, "max_length": 8, "truncation": policy}
        train(tables(at, short), tell=tell)
    pairs = at / "of-metrics.jsonl"
    pairs.write_text("".join(f'{{"good": "{i} a", "bad": "{i} B"}}\n' for i in range(60)))
    floor = {"every": 1, "sets": [{"name": "<set>", "kind": "choose", "path": str(pairs)}], "documents": 4}
    train(tables(at, {"method": "sft", "steps": 2}, keep=floor | {"max_tokens": 4}), tell=tell)
    return names


def test_every_metric_that_is_logged_is_documented(logged):
    assert not logged - documented()


def test_every_metric_that_is_documented_is_logged(logged):
    assert not documented() - logged


def test_each_name_stands_once_in_the_document():
    lines = [line.split("|")[1] for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    names = [name for line in lines for name in re.findall(r"`([^`]+)`", line)]
    assert len(names) == len(set(names))
