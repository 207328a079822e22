"""GFlowNet flows over text: what the objectives `tb`, `subtb` and `db` have in common.

A state is a prompt with the tokens generated so far. Each state has one parent, so the backward policy P_B is 1. With
flows F, log F(s_0) = log Z:

    balance:  log F(s_k) + log P_F(s_{k+1} | s_k) = log F(s_{k+1}),   F of a whole answer is its reward R

The reward of an answer is R(y) · π_ref(y)^prior. Without the prior the optimum samples in proportion to R over all
strings, and since R has a floor above 0, the wrong ones, of which there are so many more, have most of the probability.
So the prior is the reference unless a recipe says otherwise, and the optimum is the reference with each answer weighed
by its reward. With F(s_k) = f(s_k) · π_ref(s_k)^prior the prior of a state cancels from the balance, which leaves

    log f(s_k) + log P_F(s_{k+1} | s_k) − prior · log π_ref(s_{k+1} | s_k) = log f(s_{k+1}),   f of an answer is R

and that is what is trained: log f is the logarithm of the reward that is to be expected from s_k on, of any length,
whereas log F falls with every token.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, OwnedHead

Unit = Literal["token", "turn"]  # a transition from one state to the next: a token, or all tokens of a turn
FLOW = OwnedHead("flow")


def reads(prior: float = 1.0, **other: Any) -> set[str]:
    return {"reward", "reference"} if prior else {"reward"}


def log_reward(batch: Batch, floor: float, sharpness: float) -> Tensor:
    """log R of each answer: sharpness · log max(r, floor)."""
    if floor <= 0:
        raise ValueError(f"floor is {floor}: the loss takes the logarithm of rewards; set it above 0, such as 1e-3")
    return sharpness * batch.reward_S.clamp(min=floor).log()


def over_prior(out: Out, batch: Batch, prior: float) -> Tensor:
    """[N]: c_t (log π(y_t) − prior · log π_ref(y_t))."""
    assert batch.credit_N is not None
    if not prior:
        return batch.credit_N * out.logp_N
    assert batch.reference_N is not None
    return batch.credit_N * (out.logp_N - prior * batch.reference_N)


def transitions(out: Out, batch: Batch, unit: Unit, prior: float) -> tuple[Tensor, Tensor, Tensor]:
    """For M transitions, in order within each sequence: log f of the state before, Σ c_t log (P_F / π_ref^prior), and
    the sequence number. The flow of a state is read at the first token of the transition that leaves it."""
    at_n = batch.train_N.nonzero()[:, 0]
    flow_n, logp_n = out.terms[FLOW][at_n], over_prior(out, batch, prior)[at_n]
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
