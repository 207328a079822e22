"""Progress rewards for episodes of reasoning."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.credits.group_zscore import moments
from scalpel.part import Out, part
from scalpel.worked_cases import case

Baseline = Literal["group", "start"]


def per_turn(batch: Batch) -> Tensor:
    """[N]: the sum of the token rewards in a token's turn."""
    assert batch.reward_N is not None
    turns = int(batch.turn_N.max()) + 1 if batch.N else 1
    unit_N = batch.seq_N * turns + batch.turn_N
    inside_N = torch.where(batch.train_N, batch.reward_N, 0.0)
    return inside_N.new_zeros(batch.S * turns).index_add(0, unit_N, inside_N)[unit_N]


def limits() -> Iterator[tuple]:
    two: dict[str, Any] = dict(logp=[[-1.0, -1.0], [-1.0]], group=[0, 0], reward=[1.0, 0.0])
    made = case(**two, inside=[[0.5, 0.25], [-0.25]], turn=[[0, 1], [0]])
    yield *made, {"alpha": 0.0}, [0.5, 0.5, -0.5]  # minus the group's mean, ½
    yield *made, {"alpha": 1.0}, [1.0, 0.75, -0.75]  # and each token's own episode: ½, ¼, −¼
    yield *made, {"alpha": 0.0, "baseline": "start"}, [0.75, 0.75, -0.25]  # the progress of the whole answer
    yield *made, {"alpha": 2.0, "baseline": "start"}, [1.75, 1.25, -0.75]


@part("credit", "progress", reads={"reward", "progress"}, couples="group", limits=limits)
def progress(out: Out, batch: Batch, *, alpha: float = 1.0, baseline: Baseline = "group") -> Tensor:
    """Adds to the outcome's advantage the change in the probability of success over an episode of reasoning.

        Â_t = r − b + α (J_after − J_before) of the episode of t,   Σ over episodes of J_after − J_before = r − J_start

    `baseline` b: "group", the mean reward of the group; "start", J_start: the expected reward of answering at once,
    without reasoning.

    Reads    reward_S, group_S, reward_N (the progress of each episode, at its last token), turn_N (the episode).
    Limits   α = 0 is `group-mean`, or with b = J_start the progress of the whole answer. A group of one has no group
             baseline: take baseline "start".
    Fails    J from few forced answers is noisy: `progress/probed` of the source is their number; raise its `provers`.
    Source   Qu et al. 2025 (arXiv 2503.07572), progress bonus; baseline "start" as in the authors' README of MRT-RL.
    """
    inside_N = per_turn(batch)
    if baseline == "group":
        outcome_S = batch.reward_S - moments("progress", batch)[0]
    else:
        assert batch.reward_N is not None
        outcome_S = batch.sum_S(batch.reward_N)
    return batch.broadcast(outcome_S) + alpha * inside_N
