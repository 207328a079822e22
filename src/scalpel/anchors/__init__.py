"""Anchors: regularisers that hold the policy near an earlier model.

On outputs, per token: `f(out, batch, *, …) → (penalty_sum, metrics)`, divided by its count as an objective is. On
parameters, once an optimiser step: `f(now, home, *, …) → (penalty, metrics)`, where `now` maps the names of trainable
parameters to their values and `home` to their values at the beginning of the stage.
"""

from scalpel.registry import gather_parts

gather_parts(__name__, __path__)
