"""GFlowNet flows over text: what the objectives `tb`, `subtb` and `db` have in common.

A state is a prompt with the tokens generated so far. Each state has one parent, so the backward policy P_B is 1. With
flows F, log F(s_0) = log Z:

    balance:  log F(s_k) + log P_F(s_{k+1} | s_k) = log F(s_{k+1}),   F of a whole answer is its reward R
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, OwnedHead

Unit = Literal["token", "turn"]  # a transition from one state to the next: a token, or all tokens of a turn
FLOW = OwnedHead("flow")


def reads(prior: float = 0.0, **other: Any) -> set[str]:
    return {"reward", "reference"} if prior else {"reward"}


def log_reward(batch: Batch, floor: float, sharpness: float, prior: float) -> Tensor:
    """log R of each answer: sharpness · log max(r, floor) + prior · log π_ref(y)."""
    if floor <= 0:
        raise ValueError(f"floor is {floor}: the loss takes the logarithm of rewards; set it above 0, such as 1e-3")
    log_R_S = sharpness * batch.reward_S.clamp(min=floor).log()
    if not prior:
        return log_R_S
    assert batch.reference_N is not None
    return log_R_S + prior * batch.sum_S(batch.reference_N)


def transitions(out: Out, batch: Batch, unit: Unit) -> tuple[Tensor, Tensor, Tensor]:
    """For M transitions, in order within each sequence: log F of the state before, Σ c_t log P_F, and the sequence
    number. The flow of a state is read at the first token of the transition that leaves it."""
    assert batch.credit_N is not None
    at_n = batch.train_N.nonzero()[:, 0]
    flow_n, logp_n = out.terms[FLOW][at_n], (batch.credit_N * out.logp_N)[at_n]
    seq_n, turn_n = batch.seq_N[at_n], batch.turn_N[at_n]
    if unit == "token" or not len(at_n):
        return flow_n, logp_n, seq_n
    begins_n = torch.ones_like(seq_n, dtype=torch.bool)
    begins_n[1:] = (seq_n[1:] != seq_n[:-1]) | (turn_n[1:] != turn_n[:-1])
    m_n = begins_n.cumsum(0) - 1
    logp_M = logp_n.new_zeros(int(m_n[-1]) + 1).index_add(0, m_n, logp_n)
    return flow_n[begins_n], logp_M, seq_n[begins_n]


def count_of(batch: Batch, unit: Unit) -> float:
    """The number of transitions; as a divisor of the loss it is known before the forward pass."""
    if unit == "token":
        return float(batch.train_N.sum())
    at_n = batch.train_N.nonzero()[:, 0]
    pairs_n2 = torch.stack([batch.seq_N[at_n], batch.turn_N[at_n]], 1)
    return float(len(torch.unique(pairs_n2, dim=0)))
