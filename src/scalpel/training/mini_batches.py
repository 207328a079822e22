"""Mini-batches: one batch, split over several optimiser steps.

    batch of B groups, `mini_batches` = M, `updates_per_batch` = U   ⇒   U·M optimiser steps, each on about B/M groups

`old` and the reference's log-probs are those of the whole batch before its first step, so that from the second step on
π(y_t) / old_t is no longer 1, and a clipped ratio does something. Source: PPO (Schulman et al. 2017, arXiv 1707.06347,
algorithm 1: K epochs of minibatches of size M ≤ NT); verl calls them `ppo_epochs` and `ppo_mini_batch_size`, TRL
`num_iterations` and `steps_per_generation`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.engine.micro_batches import units_of


def split_evenly(batch: Batch, parts: int) -> list[Tensor]:
    """The sequences, [s], of each of `parts` mini-batches, in the order in which they were drawn. A group is never
    split, whatever the loss needs: what its members earned is compared within it. Where there are fewer groups than
    parts, the last ones are empty."""
    units = units_of(batch, "group")
    bounds = [-(-len(units) * m // parts) for m in range(parts + 1)]
    nothing = torch.zeros(0, dtype=torch.long)
    return [torch.cat([nothing, *units[first:last]]) for first, last in zip(bounds, bounds[1:])]  # noqa: B905


def mini_batch(batch: Batch, step: int, parts: int) -> Batch:
    """What the optimiser step `step` of a stage learns from; the batch itself where it isn't split."""
    return batch if parts == 1 else batch.pick(split_evenly(batch, parts)[step % parts])
