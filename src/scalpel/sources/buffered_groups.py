"""On-policy samples in groups, with draws from a replay buffer of earlier ones."""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import torch

from scalpel.batch import Batch
from scalpel.binding.bounds import Few
from scalpel.part import part
from scalpel.seeding import derive
from scalpel.sources.context import SourceContext
from scalpel.sources.end_to_end import end_to_end
from scalpel.sources.groups import groups
from scalpel.sources.replayed_groups import KEPT
from scalpel.sources.sampled import at_most

Kept = dict[str, Any]  # one group: its tensors by field, and a number by which it is known
State = dict[str, list[Kept]]  # groups, oldest first


def empty_buffer(*, size: int, replays: int, capacity: int) -> State:
    if size < 1 or replays < 0 or capacity < 0:
        raise ValueError(
            f"source 'buffered-groups' has size {size}, replays {replays}, capacity {capacity}: give a size of 1 or "
            "more, and replays and a capacity of 0 or more groups"
        )
    return {"kept": []}


def taken_apart(batch: Batch) -> Iterator[tuple[int, Kept]]:
    """The groups of a batch that were sampled in it, each with the number that it is known by."""
    for group in torch.unique(batch.group_S).tolist():
        index_s = (batch.group_S == group).nonzero()[:, 0]
        mark = batch.columns[int(index_s[0])]
        if not mark["replayed"]:
            found = batch.pick(index_s)
            yield mark["drawn"], {k: x.cpu() for k in KEPT if (x := getattr(found, k)) is not None}


def keep(state: State, seen: Mapping[str, float], batch: Batch, *, capacity: int, **hyper: Any) -> State:
    """The buffer after a step. A group that is used for several optimiser steps is kept once."""
    known = {group["drawn"] for group in state["kept"]}
    new = [{"drawn": drawn, **group} for drawn, group in taken_apart(batch) if drawn not in known]
    return {"kept": [*state["kept"], *new][-capacity:] if capacity else []}


@part(
    "source",
    "buffered-groups",
    gives=frozenset({"reward", "behaviour"}),
    plays=True,
    state=empty_buffer,
    follow=keep,
    samples=at_most(lambda size, **other: size),
)
def buffered_groups(
    context: SourceContext, *, state: State, size: Few = 8, replays: int = 3, capacity: int = 4096
) -> Batch:
    """Samples `size` completions of the policy for each prompt, and adds `replays` times as many earlier groups.

    Earlier groups are drawn uniformly from the last `capacity` ones, without replacement, and come after the new ones:
    with `mini_batches` = 1 + `replays`, so many optimiser steps are taken for one batch of new samples, the first on
    the new ones once the buffer holds enough. Before the share `learning_starts` of the stage samples are only kept.
    Rows have the columns `replayed` and `drawn`, the number of a group.

    Reads    prompts; the reward functions.
    Limits   replays or capacity 0 is `groups`.
    Fails    the older the samples, the further off-policy: add credit `importance`; where `staleness` grows, lower
             capacity.
    Source   Zhou et al. 2024 (arXiv 2412.07762), section 5: online RL from a replay buffer that the frozen policy
             filled, without the offline data; there a step draws from the whole buffer, the new transitions included.
    """
    new = groups(context, size=size)
    if not new.S:
        return new
    kept = state["kept"]
    number = len(torch.unique(new.group_S))
    again = Random(context.seed).sample(kept, min(len(kept), replays * number))
    marks = [{"replayed": False, "drawn": derive(context.seed, "group", g) % 2**31} for g in new.group_S.tolist()]
    marks += [{"replayed": True, "drawn": group["drawn"]} for group in again for _ in group["group_S"]]
    fields = {name: x for name in KEPT if (x := getattr(new, name)) is not None}
    return Batch(**end_to_end([fields, *again]), columns=tuple(marks))
