"""Sub-trajectory balance."""

from collections.abc import Iterator

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.objectives.flows import FLOW, Unit, log_reward, reads, transitions
from scalpel.part import Metrics, Out, mean_of, part, zero_head
from scalpel.worked_cases import case


def imbalance(flow_T: Tensor, logp_T: Tensor, log_R: Tensor, decay: float) -> Tensor:
    """The weighted mean of the squared residuals over all sub-trajectories i < j of one answer. With the cumulative
    A_k = Σ_{l<k} log P_F, the residual of a sub-trajectory is h_i − h_j, h_k = log F(s_k) − A_k."""
    # K states of one answer; the last one is the complete answer, whose flow is its reward. The [K, K] table makes the
    # memory quadratic in the number of transitions.
    cumulative_K = torch.cat([logp_T.new_zeros(1), logp_T.cumsum(0)])
    h_K = torch.cat([flow_T, log_R[None].to(flow_T)]) - cumulative_K
    state_K = torch.arange(len(h_K), device=h_K.device)
    gap_KK = state_K - state_K[:, None]
    weight_KK = torch.where(gap_KK > 0, decay ** (gap_KK - 1).clamp(min=0).to(h_K.dtype), 0.0)
    return (weight_KK * (h_K[:, None] - h_K) ** 2).sum() / weight_KK.sum()


def limits() -> Iterator[tuple]:
    at = case([[-1.0, -2.0]], reward=[1.0], terms={FLOW: [[3.0, 2.0]]})
    alone = {"prior": 0.0}
    yield *at, alone, 0.0
    off = case([[-1.0, -2.0]], reward=[1.0], terms={FLOW: [[3.0, 4.0]]})  # h = 3, 5, 3
    yield *off, {**alone, "decay": 1.0}, (4.0 + 4.0 + 0.0) / 3
    yield *off, {**alone, "decay": 0.5}, (4.0 + 4.0) / 2.5
    yield *off, {**alone, "decay": 0.0}, 4.0  # the mean of detailed balance
    yield *off, {**alone, "unit": "turn"}, 0.0  # trajectory balance: log Z = 3
    two = case([[-1.0], [-1.0]], reward=[1.0, 1.0], terms={FLOW: [[3.0], [1.0]]})
    yield *two, alone, 2.0  # (3 − 1)² and (1 − 1)²
    same = case([[-1.0, -2.0]], reward=[1.0], reference=[[-1.0, -2.0]], terms={FLOW: [[0.0, 1.0]]})  # h = 0, 1, 0
    yield *same, {"decay": 0.0}, 1.0


@part(
    "objective",
    "subtb",
    needs={"logp", FLOW},
    reads=reads,
    count="sequences",
    couples="sequence",
    tempered=False,
    owns={"flow": zero_head},
    limits=limits,
)
def subtb(
    out: Out,
    batch: Batch,
    *,
    decay: float = 0.9,
    unit: Unit = "token",
    floor: float = 1e-3,
    sharpness: float = 1.0,
    prior: float = 1.0,
) -> tuple[Tensor, Metrics]:
    """Trains the policy to sample as the reference weighed by reward, with one equation for each sub-trajectory.

        L = Σ_i Σ_{j<k} λ^{k−j} (log f(s_j) + Σ_{j≤l<k} log p_l − log f(s_k))² / Σ_{j<k} λ^{k−j},
        p_l = P_F(s_{l+1} | s_l) / π_ref(s_{l+1} | s_l)^prior

    λ is `decay`; f of a whole answer is R = max(r, floor)^sharpness, and f(s) · π_ref(s)^prior is the flow of a state.
    A step is a token, or with `unit` "turn" a whole turn or episode.

    Reads    logp, head term `flow`; reward_S, turn_N; reference if prior > 0; a credit c weighs tokens.
    Limits   λ = 0 is `db`, averaged over each answer; one step an answer is `tb`.
    Fails    prior 0: π ∝ R over all strings, most of which are wrong and share the floor. λ near 1
             on long answers is as noisy as `tb`; time and memory grow with the square of their length.
    Source   Madan et al. 2023 (arXiv 2209.12782), SubTB(λ) with P_B = 1; for language models Kang et al. 2025 (arXiv
             2503.06514), and Hu et al. 2024 (arXiv 2310.04363), eq. 3, where the reward of stopping at s_k over the
             probability of stopping replaces F(s_k); here a head predicts the flow, so partial answers need no reward.
    """
    if decay < 0:
        raise ValueError(
            f"decay is {decay}, but it weighs longer sub-trajectories against single steps: set 0 (single steps) to 1"
        )
    flow_M, logp_M, seq_M = transitions(out, batch, unit, prior)
    log_R_S = log_reward(batch, floor, sharpness)
    sequences, lengths = torch.unique_consecutive(seq_M, return_counts=True)
    answers = zip(flow_M.split(lengths.tolist()), logp_M.split(lengths.tolist()), log_R_S[sequences], strict=True)
    found = [imbalance(flow_T, logp_T, log_R, decay) for flow_T, logp_T, log_R in answers]
    # A micro-batch without trained tokens gives a 0 that still has a graph, so that backward doesn't fail.
    loss_S = torch.stack(found) if found else (flow_M + logp_M).sum()[None]
    return loss_S.sum(), {"flow": mean_of(flow_M), "residual": mean_of(loss_S.detach().sqrt())}
