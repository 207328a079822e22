"""Objectives: the loss on the trained tokens. An objective is `f(out, batch, *, …) → (loss_sum, metrics)`.

The loss is a sum. The loop divides it once by the `count` of the whole optimiser step, so that gradient accumulation
and micro-batches change neither the loss nor its gradient.
"""

from scalpel.registry import gather_parts

gather_parts(__name__, __path__)
