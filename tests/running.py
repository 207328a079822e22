"""Recipes of a second: a tiny model, two dozen rows with every column, and a reward that differs between samples."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

import tiny
from scalpel.config.merge import merge
from scalpel.config.plan import assemble
from scalpel.config.recipe import Recipe, parse
from scalpel.methods import ROWS
from scalpel.runs.folder import RunFolder
from scalpel.seeding import derive
from scalpel.tasks.split import SHARES
from scalpel.training.loop import train
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun

DOCUMENT = Path(__file__).parents[1] / "docs" / "metrics.md"  # of every name that a run may log
REWARD = '''
def spread(completions, **columns):
    """Between 0 and 1, by the letters that came: random models get some of it."""
    return [sum(map(ord, text)) % 7 / 6 for text in completions]
'''


def prepare(at: Path) -> Path:
    """Model folders by kind, data and a reward function."""
    for kind in ("llama", "gpt2"):
        tiny.folder(at / kind, kind)
    tiny.folder(at / "teacher", "llama", seed=1)
    rows = []
    for i in range(24):
        word = "".join(chr(97 + derive("word", i, k) % 26) for k in range(2 + i % 4))
        rows.append(
            {
                "prompt": f"{word}>",
                "completion": word[::-1],
                "answer": word[::-1],
                "chosen": word[::-1],
                "rejected": word + "!",
                "label": i % 3 > 0,
            }
        )
    (at / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (at / "reward.py").write_text(REWARD)
    return at


def tables(at: Path, train: dict[str, Any] | list[dict[str, Any]], kind: str = "llama", **over: Any) -> Recipe:
    """A recipe over that material; `train` is one stage or a list of them."""
    small = {"steps": 6, "batch": 4, "learning_rate": 1e-2, "sampling": {"max_tokens": 6}}
    stages = [merge(small, stage) for stage in (train if isinstance(train, list) else [train])]
    raw = {
        "model": {"path": str(at / kind), "device": "cpu"},
        "models": {role: str(at / "teacher") for role in ("teacher", "weak", "judge")},
        "task": {"name": "jsonl", "path": str(at / "rows.jsonl"), "shares": dict(SHARES), "verify": "exact"},
        "data": {"rewards": [f"{at / 'reward.py'}:spread"]},
        "stages": stages,
    }
    return parse(merge(raw, over))


def opened(run: TrainingRun, stage: dict[str, Any]) -> StageRun:
    """The stage, entered in a run over that material."""
    recipe = tables(run.at, stage)  # type: ignore[attr-defined]
    run.plans = [assemble(recipe.stages[0], recipe)]
    return run.enter(0)


def weights(run: TrainingRun) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in run.engine.model.named_parameters()}


def records(folder: Path) -> list[dict[str, Any]]:
    """What was logged, less the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def ran(recipe: Recipe, folder: Path, **more: Any) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Runs it in a folder and gives final weights and records."""
    run = train(recipe, RunFolder(folder, more.get("resume", False)), **more)
    return weights(run), records(folder)


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def all_stages() -> list[Mapping[str, Any]]:
    """The stages of every method."""
    return [stage for row in ROWS.values() for stage in (*row.before, row.stage, *row.after)]


def metric_names(records: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names in records, those of signals and of reward functions removed, as the document has them."""
    signals = sorted(
        {signal["name"] for stage in all_stages() for signal in stage.get("signals", ()) if "name" in signal}
    )
    plain = [re.sub(rf"^({'|'.join(signals)}|keep(?=/kl))/", "", key) for record in records for key in record]
    return {re.sub(r"^rewards/[^/]+/", "rewards/<function>/", key) for key in plain}


@cache
def documented_metrics() -> frozenset[str]:
    """The names in the first column of the document's tables."""
    lines = [line.split("|")[1] for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return frozenset(name for line in lines for name in re.findall(r"`([^`]+)`", line))
