"""Every name in the document of metrics is logged by some run. That every name that a run logs is in the document is a
check of `tests/method_battery.py`, for all methods, and here for what methods don't have."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from running import DOCUMENT, all_stages, documented_metrics, metric_names, tables
from scalpel.registry import AXES
from scalpel.training.loop import train

CHECKED = {"every": 1, "items": 2}
ENDING = {"sampling": {"max_tokens": 24, "temperature": 1.0}}  # so that some samples of a random model come to an end
# the methods that together log every name that some method logs
METHODS = (
    "ppo",
    "spin",
    "reward-model",
    "gflow-tb",
    "gflow-subtb",
    "acereason",
    "distill",
    "grpo-async",
    "ift",
    "kto",
    "prefix-rft",
)


def objectives(stage: Mapping[str, Any]) -> list[str]:
    """The names of its objectives."""
    said = [signal.get("objective") for signal in stage.get("signals", ())]
    return [str(o["name"]) if isinstance(o, Mapping) else str(o) for o in said]


@pytest.fixture(scope="module")
def logged(at) -> set[str]:
    """The names that two steps log: of those methods, with each anchor, of objectives that no method has, of rows that
    are too long, under a floor, and with an environment."""
    names: set[str] = set()

    def tell(record) -> None:
        names.update(metric_names([record]))

    for method in METHODS:
        train(tables(at, {"method": method, "steps": 2, "anchors": ["kl"], "validate": CHECKED}), tell=tell)
    train(tables(at, {"method": "weak-to-strong", "steps": 2, **ENDING}), tell=tell)
    for anchor in ("l2", {"name": "adaptive-kl", "target": 0.1}, {"name": "elastic", "texts": 2}):
        train(tables(at, {"method": "sft", "steps": 2, "anchors": [anchor]}), tell=tell)
    for objective in sorted(AXES["objective"].keys() - {name for stage in all_stages() for name in objectives(stage)}):
        signals = [{"source": "demonstrations", "objective": objective}]
        train(tables(at, {"signals": signals, "steps": 2}), tell=tell)
    for policy in ("drop", "keep_end"):
        short = {"method": "sft", "steps": 8, "batch": 1, "max_length": 8, "truncation": policy}
        train(tables(at, short), tell=tell)
    pairs = at / "of-metrics.jsonl"
    pairs.write_text("".join(f'{{"good": "{i} a", "bad": "{i} B"}}\n' for i in range(60)))
    floor = {"every": 1, "sets": [{"name": "<set>", "kind": "choose", "path": str(pairs)}], "documents": 4}
    train(tables(at, {"method": "sft", "steps": 2}, keep=floor | {"max_tokens": 4}), tell=tell)
    episodes = {"method": "grpo", "steps": 2, "environment": {"name": "calculator", "max_turns": 2, "role": "user"}}
    world = {"model": {"path": "world-300k"}, "task": {"name": "world/calculator"}, "data": {"rewards": ["task"]}}
    train(tables(at, episodes, **world), tell=tell)
    return names


def test_every_metric_that_is_logged_is_documented(logged):
    unknown = logged - documented_metrics()
    assert not unknown, sorted(unknown)


def test_every_metric_that_is_documented_is_logged(logged):
    missing = documented_metrics() - logged
    assert not missing, sorted(missing)


def test_each_name_stands_once_in_the_document():
    lines = [line.split("|")[1] for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    names = [name for line in lines for name in re.findall(r"`([^`]+)`", line)]
    assert len(names) == len(set(names))
