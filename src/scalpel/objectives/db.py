"""Detailed balance."""

from collections.abc import Iterator
from math import log
from typing import Any

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.objectives.flows import FLOW, Unit, count_of, log_reward, reads, transitions
from scalpel.part import Metrics, Out, mean_of, part, zero_head
from scalpel.worked_cases import case


def count(batch: Batch, *, unit: Unit = "token", **other: Any) -> float:
    return count_of(batch, unit)


def successors(flow_M: Tensor, seq_M: Tensor, log_R_S: Tensor) -> Tensor:
    """log F of the state after each transition; after the last one of a sequence it is log R."""
    last_M = torch.ones_like(seq_M, dtype=torch.bool)
    last_M[:-1] = seq_M[1:] != seq_M[:-1]
    return torch.where(last_M, log_R_S[seq_M].to(flow_M), flow_M.roll(-1))


def limits() -> Iterator[tuple]:
    at = case([[-1.0, -2.0]], reward=[1.0], terms={FLOW: [[3.0, 2.0]]})
    alone = {"prior": 0.0}
    yield *at, alone, 0.0  # 3 − 1 = 2, 2 − 2 = log 1
    off = case([[-1.0, -2.0]], reward=[1.0], terms={FLOW: [[3.0, 4.0]]})
    yield *off, alone, (4.0 + 4.0) / 2  # 3 − 1 − 4 = −2, 4 − 2 − 0 = 2
    yield *off, {**alone, "unit": "turn"}, 0.0  # one turn: 3 − 3 = log 1; the flow of the state in between is not used
    yield *case([[0.0]], reward=[0.0], terms={FLOW: [[0.0]]}), {**alone, "floor": 0.1}, log(0.1) ** 2
    same = case([[-1.0, -2.0]], reward=[1.0], reference=[[-1.0, -2.0]], terms={FLOW: [[0.0, 1.0]]})
    yield *same, {}, (1.0 + 1.0) / 2  # 0 − 1, 1 − log 1: π / π_ref is 1


@part(
    "objective",
    "db",
    needs={"logp", FLOW},
    reads=reads,
    count=count,
    couples="sequence",
    tempered=False,
    owns={"flow": zero_head},
    limits=limits,
)
def db(
    out: Out, batch: Batch, *, unit: Unit = "token", floor: float = 1e-3, sharpness: float = 1.0, prior: float = 1.0
) -> tuple[Tensor, Metrics]:
    """Trains the policy to sample as the reference weighed by reward, with one balance equation for each step.

        L = Σ_k (log f(s_k) + log P_F(s_{k+1} | s_k) − prior · log π_ref(s_{k+1} | s_k) − log f(s_{k+1}))²,
        f(answer) = R = max(r, floor)^sharpness;  f(s) · π_ref(s)^prior is the flow of a state

    A step is a token, or with `unit` "turn" a whole turn or episode: log P_F is then Σ c_t log π over its tokens, and
    log π_ref is weighed by c_t, too.

    Reads    logp, head term `flow`; reward_S, turn_N; reference if prior > 0; a credit c weighs tokens.
    Limits   one step an answer: `tb` and `subtb`. Balanced everywhere → 0, and π ∝ π_ref^prior · R.
    Fails    prior 0: π ∝ R over all strings, most of which are wrong and share the floor. The reward
             propagates to earlier tokens only as fast as the flows of later states are learnt: `residual` falls while
             `reward` doesn't change.
    Source   Bengio et al. 2023 (arXiv 2111.09266), section 3.2, detailed balance with P_B = 1; for language models Kang
             et al. 2025 (arXiv 2503.06514).
    """
    flow_M, logp_M, seq_M = transitions(out, batch, unit, prior)
    residual_M = flow_M + logp_M - successors(flow_M, seq_M, log_reward(batch, floor, sharpness))
    return (residual_M**2).sum(), {"flow": mean_of(flow_M), "residual": mean_of(residual_M.abs())}
