"""A claim about two arms on a tiny model, in a folder of claims."""

from __future__ import annotations

from pathlib import Path

import command_line
from command_line import OPENED, PROBES

COMPARED = """[compare]
seeds = [0, 1]
budget = "steps"
workers = 1
shared = {batch = 2, steps = 2}
arms = [{name = "fast", method = "sft", learning_rate = 1e-2}, {name = "slow", method = "sft", learning_rate = 1e-4}]
[measure]
points = 0
recovery_items = 0
"""
RECIPE = OPENED + COMPARED + PROBES
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


class Place(command_line.Place):
    """A folder with data and claims, beside which a model lies."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.claim()

    def claim(self, name: str = "steps", claim: str = CLAIM, recipe: str = RECIPE) -> Path:
        self.write(f"claims/{name}/claim.toml", claim)
        return self.write(f"claims/{name}/recipe.toml", recipe).parent
