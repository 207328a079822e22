"""The table of methods: each published one is a row, a point on the axes with its vetted settings.

A row is data in the recipe's own language. Keys that a user sets go over it, so every other point of the space
is one override away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalpel.methods import hybrid, own_samples, policy_gradient, preference, revision, shaping, supervised
from scalpel.methods.row import Row, one
from scalpel.registry import AXES, register

__all__ = ["FAMILIES", "FLOOR", "ROWS", "Row", "one"]

ROWS: dict[str, Row] = AXES["method"]
FAMILIES: dict[str, Mapping[str, Row]] = {}  # by the first line of what their file says of itself
for family in (supervised, own_samples, policy_gradient, shaping, hybrid, preference, revision):
    for name, row in family.ROWS.items():
        register("method", name)(row)
    FAMILIES[(family.__doc__ or "").split("\n")[0].removesuffix(".")] = family.ROWS

# What a floor adds to a stage that names nothing to steer: text that the base wrote, held by the divergence on it from
# the base, or from the stage's reference where that is the base. Other anchors are for what is learnt.
FLOOR: dict[str, Mapping[str, Any]] = {
    "signal": {"name": "keep", "source": {"name": "self-written", "focus": 0.5}, "anchored": False},
    "anchor": {"name": "kl", "estimator": "exact-forward", "beta": 1.0, "on": "keep"},
}
