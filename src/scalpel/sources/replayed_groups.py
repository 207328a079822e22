"""On-policy samples in groups, with a replay buffer of earlier batches."""

from collections.abc import Mapping
from random import Random
from typing import Any

import torch

from scalpel.batch import Batch
from scalpel.binding.bounds import Few
from scalpel.part import part
from scalpel.sources.context import SourceContext
from scalpel.sources.groups import groups

State = dict[str, list[dict[str, Any]]]  # batches, oldest first, each as tensors by field
KEPT = (
    "ids_N", "input_N", "train_N", "author_N", "turn_N", "seq_N", "group_S", "episode_S", "label_S", "reward_SK",
    "behaviour_N", "temperature_N",
)  # fmt: skip


def empty_buffer(*, size: int, capacity: int, chance: float) -> State:
    if size < 1 or capacity < 0 or not 0 <= chance <= 1:
        raise ValueError(
            f"source 'replayed-groups' has size {size}, capacity {capacity}, chance {chance}: give a size of 1 or "
            "more, a capacity of 0 or more batches, and a chance in 0 … 1"
        )
    return {"kept": []}


def same(kept: Mapping[str, Any], batch: Batch) -> bool:
    return torch.equal(kept["ids_N"], batch.ids_N.cpu())


def keep(state: State, seen: Mapping[str, float], batch: Batch, *, capacity: int, **hyper: Any) -> State:
    """The buffer after a step, oldest batch first: a new batch is appended, a replayed one removed. A batch that is
    used for several optimiser steps is appended or removed once."""
    kept = state["kept"]
    if any(row.get("replayed") for row in batch.columns):
        return {"kept": kept[1:] if kept and same(kept[0], batch) else kept}
    if not batch.S or not capacity or (kept and same(kept[-1], batch)):
        return state
    new = {name: getattr(batch, name).cpu() for name in KEPT if getattr(batch, name) is not None}
    return {"kept": [*kept, new][-capacity:]}


@part(
    "source", "replayed-groups", gives=frozenset({"reward", "behaviour"}), plays=True, state=empty_buffer, follow=keep
)
def replayed_groups(
    context: SourceContext, *, state: State, size: Few = 8, capacity: int = 8, chance: float = 0.25
) -> Batch:
    """Samples `size` completions of the policy for each prompt, or, in some steps, replays the oldest buffered batch.

    Once the buffer holds `capacity` batches, a step replays the oldest with probability `chance` instead of sampling.
    Its rows have the column `replayed`, by which credit `recompose` recognises them.

    Reads    prompts; the reward functions.
    Limits   capacity or chance 0 is `groups`.
    Fails    a large capacity replays samples that are far off-policy: add credit `importance`, or lower the capacity.
    Source   Li et al. 2025 (arXiv 2509.25958), replay buffer of compensation batches; how often one is replayed is not
             stated clearly there.
    """
    if capacity and len(state["kept"]) >= capacity and Random(context.seed).random() < chance:
        oldest = state["kept"][0]
        return Batch(**oldest, columns=({"replayed": True},) * len(oldest["group_S"]))
    return groups(context, size=size)
