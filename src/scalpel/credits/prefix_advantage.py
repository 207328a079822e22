"""Advantages among the samples that continue the same prefix."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from scalpel.batch import DEMONSTRATION, POLICY, Batch, group_moments
from scalpel.credits.pass_gate import group_mean_of, without_prefix
from scalpel.credits.top_entropy_prefix import demonstrated
from scalpel.part import Out, part
from scalpel.worked_cases import case


def branch(batch: Batch) -> Tensor:
    """[S]: a number for the group and the demonstrated tokens of each sequence, equal where both are."""
    length_S = torch.bincount(batch.seq_N, minlength=batch.S).tolist()
    numbers: dict[tuple, int] = {}
    rows = zip(batch.group_S.tolist(), batch.ids_N.split(length_S), demonstrated(batch).split(length_S), strict=True)
    keys = [(group, *ids_n[demonstrated_n].tolist()) for group, ids_n, demonstrated_n in rows]
    return torch.tensor([numbers.setdefault(key, len(numbers)) for key in keys], device=batch.group_S.device)


def limits() -> Iterator[tuple]:
    d, p = DEMONSTRATION, POLICY
    one: dict[str, Any] = dict(group=[0, 0, 0], author=[[p], [p], [d, p]], reward=[1.0, 0.0, 1.0])
    made = case([[-1.0], [-1.0], [-1.0, -1.0]], **one)
    yield *made, {}, [0.5, -0.5, 0.5, 1.0]  # own 1 − ½, 0 − ½; prefix 1 − ½; its only continuation 1 − 0
    yield *made, {"alone": "mean"}, [0.5, -0.5, 0.5, 0.0]  # 1 − 1
    two: dict[str, Any] = dict(group=[0, 0, 0], author=[[p], [d, p], [d, p]], reward=[0.0, 1.0, 0.0])
    yield *case([[-1.0], [-1.0] * 2, [-1.0] * 2], **two), {}, [0.0, 0.5, 0.5, 0.0, -0.5]  # (1 − 0) / 2, 1 − ½, …


@part("credit", "prefix-advantage", reads={"reward"}, couples="group", limits=limits)
def prefix_advantage(out: Out, batch: Batch, *, alone: Literal["zero", "mean"] = "zero") -> Tensor:
    """Compares a continuation with others of the same prefix, and the prefix with samples that have none.

        own tokens     Â_i = r_i − mean of r over the samples with the same prefix
        prefix tokens  Â_i = (r_i − mean of r over the samples without a prefix) / number with the same prefix

    The baseline of a continuation that is the only one of its prefix is 0 (`alone` "zero", the authors' first version),
    or its own reward ("mean", the second), so that only the prefix learns from it. The authors' code subtracts the mean
    from r_i before the second line; here it is the raw reward, since otherwise the terms of several continuations
    would cancel.

    Reads    reward_S, group_S, author_N.
    Limits   without prefixes it is `group-mean`, up to groups of one.
    Fails    alone = "zero": every success after a prefix is reinforced, the policy's own part included: `reward` falls
             as prefixes get shorter. Groups with a prefix but no sample without one are refused.
    Source   Huang et al. 2025 (arXiv 2507.01679): two versions of the authors' code; the paper's section 3 has one
             baseline for all.
    """
    reward_S, branch_S = batch.reward_S.to(out.logp_N.dtype), branch(batch)
    mean_S, _, size_S = group_moments(reward_S, branch_S)
    prefixed_S = ~without_prefix(batch)
    base_S = group_mean_of(batch, reward_S, ~prefixed_S)
    unknown_S = prefixed_S & base_S.isnan()
    if bool((unknown_S & (batch.lost_S == 0 if batch.lost_S is not None else True)).any()):
        raise ValueError(
            "credit 'prefix-advantage' compares a prefix with samples without one, but a group has none: set fewer "
            "continuations than samples in the source, or take credit 'group-mean'"
        )
    if alone == "zero":
        left_S = torch.zeros_like(prefixed_S) if batch.lost_S is None else batch.lost_S > 0
        # A sample without a prefix that is alone because its siblings went unrewarded keeps its own reward as baseline.
        mean_S = torch.where((size_S == 1) & (prefixed_S | ~left_S), 0.0, mean_S)
    prefix_S = torch.where(prefixed_S & ~unknown_S, (reward_S - base_S) / size_S, 0.0)
    return torch.where(demonstrated(batch), batch.broadcast(prefix_S), batch.broadcast(reward_S - mean_S))
