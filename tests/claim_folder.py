"""A claim about two arms on a tiny model, in a folder of claims."""

from __future__ import annotations

from pathlib import Path

import command_line
from command_line import OPENED, PROBES

COMPARED = """[compare]
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
group = "scopes"
regime = "weights can move"

[[regime_checks]]
says = "the slow arm moves at all"
that = {what = "moved", arm = "slow"}
exceeds = 0.0

[primary]
says = "the fast arm moves further"
that = {what = "moved", arm = "fast"}
exceeds = {arm = "slow"}
matters = 1e-3
because = "less is not seen in any answer"
paper = "ten times as far"

[[parts]]
says = "the two learn alike"
that = {what = "gain", arm = "fast"}
equals = {arm = "slow"}
matters = 0.9

[pilot]
seeds = [1000]

[sampling]
looks = [2, 3]
alpha = [0.02, 0.03]
"""


FAST_GAINS = CLAIM.replace(
    """says = "the fast arm moves further"
that = {what = "moved", arm = "fast"}
exceeds = {arm = "slow"}
matters = 1e-3""",
    """says = "the fast arm gains more"
that = {what = "gain", arm = "fast"}
exceeds = {arm = "slow"}
matters = 0.1""",
).replace(
    """that = {what = "moved", arm = "slow"}
exceeds = 0.0""",
    """that = {what = "gain", arm = "slow"}
exceeds = 0.1""",
)  # of pretended runs, whose gain is known


class Place(command_line.Place):
    """A folder with data and claims, beside which a model lies."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.claim()

    def claim(self, name: str = "steps", claim: str = CLAIM, recipe: str = RECIPE) -> Path:
        self.write(f"claims/{name}/claim.toml", claim)
        return self.write(f"claims/{name}/recipe.toml", recipe).parent
