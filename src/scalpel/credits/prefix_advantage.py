"""Advantages that know which prefix a sample went on from."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from scalpel.batch import DEMONSTRATION, POLICY, Batch, group_moments
from scalpel.credits.pass_gate import group_mean_of, unaided
from scalpel.credits.top_entropy_prefix import shown
from scalpel.part import Out, part
from scalpel.worked_cases import case


def branch(batch: Batch) -> Tensor:
    """[S]: a number for the group and the demonstrated tokens of each sequence, equal where both are."""
    length_S = torch.bincount(batch.seq_N, minlength=batch.S).tolist()
    numbers: dict[tuple, int] = {}
    rows = zip(batch.group_S.tolist(), batch.ids_N.split(length_S), shown(batch).split(length_S), strict=True)
    keys = [(group, *ids_n[shown_n].tolist()) for group, ids_n, shown_n in rows]
    return torch.tensor([numbers.setdefault(key, len(numbers)) for key in keys], device=batch.group_S.device)


def limits() -> Iterator[tuple]:
    d, p = DEMONSTRATION, POLICY
    one: dict[str, Any] = dict(group=[0, 0, 0], author=[[p], [p], [d, p]], reward=[1.0, 0.0, 1.0])
    made = case([[-1.0], [-1.0], [-1.0, -1.0]], **one)
    yield *made, {}, [0.5, -0.5, 0.5, 1.0]  # own 1 − ½, 0 − ½; prefix 1 − ½; its lone continuation 1 − 0
    yield *made, {"alone": "mean"}, [0.5, -0.5, 0.5, 0.0]  # 1 − 1
    two: dict[str, Any] = dict(group=[0, 0, 0], author=[[p], [d, p], [d, p]], reward=[0.0, 1.0, 0.0])
    yield *case([[-1.0], [-1.0] * 2, [-1.0] * 2], **two), {}, [0.0, 0.5, 0.5, 0.0, -0.5]  # (1 − 0) / 2, 1 − ½, …


@part("credit", "prefix-advantage", reads={"reward"}, couples="group", limits=limits)
def prefix_advantage(out: Out, batch: Batch, *, alone: Literal["zero", "mean"] = "zero") -> Tensor:
    """What the policy added counts against others that went on from there, the prefix against those without one.

        own tokens     Â_i = r_i − mean of r over the samples with the same prefix
        prefix tokens  Â_i = (r_i − mean of r over the samples without a prefix) / number with the same prefix

    The baseline of a continuation that is alone with its prefix is 0 (`alone` "zero", the authors' first version),
    or its own reward ("mean", the second), so that only the prefix learns from it. The authors' code centres r_i
    before the second line; here it is the reward itself, or several continuations would cancel.

    Reads    reward_S, group_S, author_N.
    Limits   without prefixes it is `group-mean`, up to groups of one.
    Fails    zero: every success after a prefix is pushed, the policy's part in it too: `reward` falls as prefixes
             get shorter. Groups with a prefix but no sample without one are refused.
    Source   Huang et al. 2025 (arXiv 2507.01679): two versions of the authors' code; the paper's section 3 has one
             baseline for all.
    """
    reward_S, branch_S = batch.reward_S.to(out.logp_N.dtype), branch(batch)
    mean_S, _, size_S = group_moments(reward_S, branch_S)
    begun_S = ~unaided(batch)
    base_S = group_mean_of(batch, reward_S, ~begun_S)
    unknown_S = begun_S & base_S.isnan()
    if bool((unknown_S & (batch.lost_S == 0 if batch.lost_S is not None else True)).any()):
        raise ValueError(
            "credit 'prefix-advantage' measures a prefix against samples without one, but a group has none: take fewer "
            "continuations than samples in the source, or credit 'group-mean'"
        )
    if alone == "zero":
        left_S = torch.zeros_like(begun_S) if batch.lost_S is None else batch.lost_S > 0
        mean_S = torch.where((size_S == 1) & (begun_S | ~left_S), 0.0, mean_S)  # else a group of one
    prefix_S = torch.where(begun_S & ~unknown_S, (reward_S - base_S) / size_S, 0.0)
    return torch.where(shown(batch), batch.spread(prefix_S), batch.spread(reward_S - mean_S))
