"""A claim about two arms on a tiny model, in a folder of claims, and a way to run commands there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from scalpel.cli import app

ROWS = [{"prompt": f"Say {n}", "completion": f" {n}", "answer": str(n)} for n in range(60)]
RECIPE = """
[model]
path = "model"
[task]
name = "jsonl"
path = "data.jsonl"
verify = "exact"
[compare]
seeds = [0, 1]
budget = "steps"
workers = 1
shared = {batch = 2, steps = 2}
arms = [{name = "fast", method = "sft", learning_rate = 1e-2}, {name = "slow", method = "sft", learning_rate = 1e-4}]
[measure]
points = 0
recovery_items = 0
[[measure.probes]]
name = "say"
task = {name = "jsonl", path = "data.jsonl", verify = "exact"}
n = 4
max_tokens = 2
[[measure.probes]]
name = "text"
kind = "drift"
texts = ["hello world", "one two three"]
"""
CLAIM = """
title = "A larger step goes further"
paper = "Nobody 1900, no. 1"
says = "Nothing yet."
expect = '''That weights move
further.'''

[[given]]
says = "the slow arm moves at all"
that = {what = "moved", arm = "slow"}
exceeds = 0.0

[[tests]]
says = "the fast arm moves further"
that = {what = "moved", arm = "fast"}
exceeds = {arm = "slow"}

[[besides]]
says = "the two learn alike"
that = {what = "gain", arm = "fast"}
equals = {arm = "slow"}
within = 0.9
"""


class Place:
    """A folder with data and claims, beside which a model lies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        self.claim()

    def claim(self, name: str = "steps", claim: str = CLAIM, recipe: str = RECIPE) -> Path:
        at = self.folder / "claims" / name
        at.mkdir(parents=True, exist_ok=True)
        (at / "claim.toml").write_text(claim)
        (at / "recipe.toml").write_text(recipe)
        return at

    def __call__(self, *arguments: object) -> Any:
        return CliRunner().invoke(app, [str(a) for a in arguments])

    def json(self, path: str) -> Any:
        return json.loads((self.folder / path).read_text())
