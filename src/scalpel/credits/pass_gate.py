"""A gate on the pass rate of a prompt."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from scalpel.batch import DEMONSTRATION, POLICY, Batch
from scalpel.credits.top_entropy_prefix import demonstrated
from scalpel.part import Out, part
from scalpel.worked_cases import case


def without_prefix(batch: Batch) -> Tensor:
    """[S]: whether the policy sampled the whole completion, without a demonstrated token in it."""
    return batch.sum_S(demonstrated(batch).float()) == 0


def group_mean_of(batch: Batch, x_S: Tensor, among_S: Tensor) -> Tensor:
    """[S]: the mean of x over those episodes of a sequence's group that `among_S` selects; NaN where there is none."""
    group_S, (first_E, _) = batch.dense_group_S(), batch.episodes()
    x_E, among_E = x_S[first_E], among_S[first_E]
    sum_G, count_G = (
        x_S.new_zeros(batch.S).index_add(0, group_S[first_E], y_E)
        for y_E in (torch.where(among_E, x_E, 0), among_E.to(x_E))
    )
    return (sum_G / count_G)[group_S]


def limits() -> Iterator[tuple]:
    d, p = DEMONSTRATION, POLICY
    split: dict[str, Any] = dict(group=[0] * 4, episode=[0, 0, 1, 2], author=[[p]] * 4, reward=[1.0, 1.0, 0.0, 0.0])
    yield *case([[-1.0]] * 4, **split), {"gate": 0.4}, [0.0] * 4  # P = ⅓: an episode in two sequences counts once
    half: dict[str, Any] = dict(group=[0, 0, 0], author=[[d], [p], [p]], reward=[1.0, 1.0, 0.0])  # P = ½, own samples
    none: dict[str, Any] = {**half, "reward": [1.0, 0.0, 0.0]}
    yield *case([[-1.0]] * 3, **half), {}, [1.0, 1.0, 1.0]
    yield *case([[-1.0]] * 3, **half), {"side": "unsolved"}, [0.0, 0.0, 0.0]
    yield *case([[-1.0]] * 3, **half), {"side": "unsolved", "gate": 0.5}, [1.0, 1.0, 1.0]
    yield *case([[-1.0]] * 3, **none), {}, [0.0, 0.0, 0.0]
    yield *case([[-1.0]] * 3, **none), {"side": "unsolved"}, [1.0, 1.0, 1.0]


@part("credit", "pass-gate", reads={"reward"}, couples="group", limits=limits)
def pass_gate(
    out: Out,
    batch: Batch,
    *,
    side: Literal["solved", "unsolved"] = "solved",
    gate: float = 0.0,
    threshold: float = 1.0,
) -> Tensor:
    """Gates prompts by the policy's pass rate: weight 1 if it is above `gate` (or not above it), else 0.

        credit_t = 1 if P_G > gate (solved) or P_G ≤ gate (unsolved), else 0
        P_G the share of a prompt's own samples with a reward of `threshold` or more; demonstrations don't count

    Reads    reward_S, group_S, author_N.
    Limits   the two sides add up to `constant`; gate below 0: every prompt counts as solved; gate 1: none does.
    Fails    correct guesses exceed the gate: hard prompts never get a demonstration; `reward` stays low.
    Source   Lv et al. 2025 (arXiv 2509.04419), section 2.4, eq. 8 and eq. 10; gate 0 as in the authors' scripts.
    """
    passed_S = (batch.reward_S >= threshold).to(out.logp_N.dtype)
    rate_S = group_mean_of(batch, passed_S, without_prefix(batch))
    unknown_S = rate_S.isnan()
    if bool((unknown_S & (batch.lost_S == 0 if batch.lost_S is not None else True)).any()):
        raise ValueError(
            "credit 'pass-gate' takes the pass rate over a prompt's samples, but a group has none without demonstrated "
            "tokens: set the source so that each group has at least one sample of the policy alone"
        )
    # A group whose own samples all went unrewarded has no pass rate, and is on neither side of the gate.
    counts_S = ((rate_S > gate) == (side == "solved")) & ~unknown_S
    return batch.broadcast(counts_S.to(passed_S))
