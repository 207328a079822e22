"""The table of methods: each published method is a row, a point on the axes with its vetted settings.

A row is data, with the keys of a recipe. A recipe's own keys override those of its row, so any other point of the space
is one override away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalpel.methods import hybrid, own_samples, policy_gradient, preference, revision, shaping, supervised
from scalpel.methods.row import Evidence, Row, one
from scalpel.registry import AXES, register

__all__ = ["FAMILIES", "FLOOR", "ROWS", "Evidence", "Row", "one"]

ROWS: dict[str, Row] = AXES["method"]
FAMILIES: dict[str, Mapping[str, Row]] = {}  # keyed by the first line of the family's module docstring
for family in (supervised, own_samples, policy_gradient, shaping, hybrid, preference, revision):
    for name, row in family.ROWS.items():
        register("method", name)(row)
    FAMILIES[(family.__doc__ or "").split("\n")[0].removesuffix(".")] = family.ROWS

# What a retention floor adds to a stage without an anchor whose strength it could control: a signal on text that the
# base sampled, with a KL anchor on it alone. The divergence is measured from the base, or from the stage's reference
# where that is the base. `anchored` = False keeps the anchors of the stage, which are for the training data, off this
# text.
FLOOR: dict[str, Mapping[str, Any]] = {
    "signal": {"name": "keep", "source": {"name": "self-written", "focus": 0.5}, "anchored": False},
    "anchor": {"name": "kl", "estimator": "exact-forward", "beta": 1.0, "on": "keep"},
}
