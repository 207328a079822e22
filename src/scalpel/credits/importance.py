"""Importance weights that correct for off-policy samples."""

from collections.abc import Iterator
from math import log
from typing import Literal

import torch
from torch import Tensor

from scalpel.batch import DEMONSTRATION, POLICY, Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case

MAX_LOG_RATIO = 20.0  # log-ratios are clamped to ± this, so that exp() stays finite
Level = Literal["token", "sequence"]
Outside = Literal["truncate", "mask"]


def limits() -> Iterator[tuple]:
    p, d = POLICY, DEMONSTRATION
    same = case([[-1.0, -2.0]], old=[[-1.0, -2.0]], behaviour=[[-1.0, -2.0]], author=[[p, p]])
    yield *same, {}, [1.0, 1.0]
    moved = case([[0.0, 0.0]], old=[[log(3.0), log(0.5)]], behaviour=[[0.0, 0.0]], author=[[p, p]])
    yield *moved, {"high": 2.0}, [2.0, 0.5]
    yield *moved, {"high": 2.0, "outside": "mask"}, [0.0, 0.5]
    yield *moved, {"high": 2.0, "low": 0.8, "outside": "mask"}, [0.0, 0.0]
    yield *moved, {"high": 2.0, "level": "sequence"}, [1.5, 1.5]  # 3 · ½
    shown = case([[0.0, 0.0]], old=[[log(3.0), log(0.5)]], behaviour=[[0.0, 0.0]], author=[[d, p]])
    yield *shown, {"level": "sequence"}, [1.0, 0.5]  # the first token was given, not sampled


@part("credit", "importance", reads={"old", "behaviour"}, couples="sequence", limits=limits)
def importance(
    out: Out,
    batch: Batch,
    *,
    level: Level = "token",
    outside: Outside = "truncate",
    low: float = 0.0,
    high: float = 2.0,
) -> Tensor:
    """Weighs sampled tokens by an importance ratio, truncated or masked: w = π_old(y) / π_behaviour(y).

    π_old is the policy before the first update on the batch, π_behaviour the one that sampled it, with the numerical
    error of the sampler. w is clipped to [low, high] (`truncate`), or set to 0 outside (`mask`). `sequence`: the
    product over the sequence's sampled tokens. Tokens that were given, not sampled, have weight 1.

    Reads    old, behaviour, author_N; both log-probs are those at the sampling temperature.
    Limits   on-policy samples with the sampler's arithmetic equal to the trainer's: 1.
    Fails    samples that are too far off-policy: `staleness` grows, and most weights are 0 or at the bound.
    Source   Espeholt et al. 2018 (arXiv 1802.01561), section 4.1, truncated weights; beside a clipped ratio of its own
             Hilton et al. 2021 (arXiv 2110.00641), the decoupled objective; masks as in TRL.
    """
    if not 0 <= low <= high:
        raise ValueError(f"low is {low} and high is {high}: they bound the weights, so set 0 ≤ low ≤ high")
    assert batch.old_N is not None and batch.behaviour_N is not None
    sampled_N = batch.train_N & (batch.author_N == POLICY)
    log_N = torch.where(sampled_N, batch.old_N - batch.behaviour_N, 0.0)
    if level == "sequence":
        log_N = batch.broadcast(batch.sum_S(log_N))
    weight_N = log_N.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    clipped_N = weight_N.clamp(low, high)
    weight_N = clipped_N if outside == "truncate" else torch.where(clipped_N == weight_N, weight_N, 0.0)
    return torch.where(sampled_N, weight_N, 1.0)
