"""Token rewards, advantages and returns: what credit `gae` and objective `value` have in common."""

from typing import Any

import torch
from torch import Tensor

from scalpel.batch import Batch


def token_rewards(batch: Batch, kl_beta: float) -> Tensor:
    """[N]: token rewards, plus the sequence's reward at its last trained token, minus the KL penalty."""
    assert batch.old_value_N is not None
    reward_N = torch.zeros_like(batch.old_value_N) if batch.reward_N is None else batch.reward_N
    if kl_beta:
        assert batch.old_N is not None and batch.reference_N is not None
        reward_N = reward_N - kl_beta * (batch.old_N - batch.reference_N)
    at_n = batch.train_N.nonzero()[:, 0]
    last_S = at_n.new_full((batch.S,), -1).scatter_reduce(0, batch.seq_N[at_n], at_n, "amax")
    some_S = last_S >= 0
    return reward_N.index_add(0, last_S[some_S], batch.reward_S[some_S].to(reward_N))


def advantages_and_returns(
    reward_N: Tensor, value_N: Tensor, train_N: Tensor, seq_N: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Â_t = δ_t + γλ·Â_{t+1}, δ_t = r_t + γ·V_{t+1} − V_t, along the trained tokens of each sequence (untrained tokens
    between them are skipped), and the returns R_t = Â_t + V_t, all [N]. After the last token V and Â are 0: an answer
    that was cut off at the length limit is treated as terminated, without bootstrapping from a value."""
    advantage_N = torch.zeros_like(value_N)
    at_n = train_N.nonzero()[:, 0]
    if not len(at_n):
        return advantage_N, advantage_N
    length_s = torch.unique_consecutive(seq_N[at_n], return_counts=True)[1]
    row_n = torch.repeat_interleave(torch.arange(len(length_s), device=at_n.device), length_s)
    column_n = torch.arange(len(at_n), device=at_n.device) - (length_s.cumsum(0) - length_s)[row_n]
    padded = value_N.new_zeros(3, len(length_s), int(length_s.max()) + 1)  # reward, value, advantage; then zeros
    reward_sT, value_sT, advantage_sT = padded
    reward_sT[row_n, column_n], value_sT[row_n, column_n] = reward_N[at_n], value_N[at_n]
    # The recursion runs backwards over positions, with all sequences in parallel; the zero column at the end is V and Â
    # after the last token.
    for t in range(padded.shape[2] - 2, -1, -1):
        delta_s = reward_sT[:, t] + gamma * value_sT[:, t + 1] - value_sT[:, t]
        advantage_sT[:, t] = delta_s + gamma * lam * advantage_sT[:, t + 1]
    advantage_N[at_n] = advantage_sT[row_n, column_n]
    return advantage_N, torch.where(train_N, advantage_N + value_N, 0.0)


def estimate(batch: Batch, gamma: float, lam: float, kl_beta: float) -> tuple[Tensor, Tensor]:
    """Advantages and returns [N] of a batch, from the values before the first update on it."""
    if not (0 <= gamma <= 1 and 0 <= lam <= 1):
        raise ValueError(f"gamma is {gamma} and lam is {lam}, but both are discount factors: set each to 0 … 1")
    assert batch.old_value_N is not None
    value_N = torch.where(batch.train_N, batch.old_value_N, 0.0)
    reward_N = token_rewards(batch, kl_beta).to(value_N)
    return advantages_and_returns(reward_N, value_N, batch.train_N, batch.seq_N, gamma, lam)


def reads(kl_beta: float = 0.0, **other: Any) -> set[str]:
    return {"reward", "old_value", *(("old", "reference") if kl_beta else ())}
