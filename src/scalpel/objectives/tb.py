"""Trajectory balance."""

from collections.abc import Iterator
from math import log
from typing import Any, Literal

import torch
from torch import Tensor

from scalpel.batch import Batch, group_moments
from scalpel.objectives.flows import FLOW, log_reward, over_prior, reads
from scalpel.part import Metrics, Need, Out, mean_of, part, zero_head
from scalpel.worked_cases import case

Partition = Literal["head", "group"]


def needs(partition: Partition = "head", **other: Any) -> set[Need]:
    return {"logp", FLOW} if partition == "head" else {"logp"}


def first(x_N: Tensor, batch: Batch) -> Tensor:
    """[S]: the value at each sequence's first trained token; 0 where it has none."""
    at_n = batch.train_N.nonzero()[:, 0]
    first_S = at_n.new_full((batch.S,), batch.N).scatter_reduce(0, batch.seq_N[at_n], at_n, "amin")
    return torch.cat([x_N, x_N.new_zeros(1)])[first_S]


def within_groups(excess_S: Tensor, some_S: Tensor, batch: Batch) -> Tensor:
    """[S]: log Z of each sample's prompt, the mean of log R − log π over those of its samples that are trained."""
    group_S = batch.dense_group_S()
    mean_S, _, size_S = group_moments(torch.where(some_S, excess_S, 0.0), group_S)
    if bool(((size_S if batch.lost_S is None else size_S + batch.lost_S.to(size_S)) < 2).any()):
        raise ValueError(
            "objective 'tb' estimates log Z from the samples of a prompt, but a group has one sample, and its residual "
            "is always 0: set size to 2 or more in the source, or partition = 'head'"
        )
    share_S = group_moments(some_S.to(excess_S.dtype), group_S)[0]
    return -mean_S / share_S.clamp(min=1 / batch.S)


def limits() -> Iterator[tuple]:
    at = case([[-1.0, -2.0], [-3.0]], reward=[1.0, 1.0], group=[0, 0], terms={FLOW: [[0.5, 9.0], [0.5]]})
    alone: dict[str, Any] = {"prior": 0.0}
    yield *at, alone, 2.5**2  # log Z − 3 − log 1, with the flow of the first state alone
    yield *at, {**alone, "partition": "group"}, 0.0  # equal log π and equal rewards
    even = case([[log(0.5)], [log(0.5)]], reward=[1.0, 1.0], group=[0, 0], terms={FLOW: [[log(2.0)]] * 2})
    yield *even, alone, 0.0  # π = R / Z
    apart = case([[-1.0], [-1.0]], reward=[1.0, 0.0], group=[0, 0])
    yield *apart, {**alone, "partition": "group", "floor": 0.1}, (log(0.1) / 2) ** 2  # the variance within the group
    cut = case([[-1.0], [-3.0], []], reward=[1.0] * 3, group=[0] * 3, terms={FLOW: [[1.0], [3.0], []]})
    yield *cut, alone, 0.0  # nothing of the third is trained, so it is not balanced
    yield *cut, {**alone, "partition": "group"}, (1.0 + 1.0) / 3  # nor does it enter the mean for log Z, which is 2
    sharp = case([[-1.0], [-1.0]], reward=[1.0, 0.0], group=[0, 0], reference=[[-1.0], [-1.0 - 2 * log(0.1)]])
    yield *sharp, {"partition": "group", "floor": 0.1, "sharpness": 2.0}, 0.0  # π_ref·R² is even
    same = case([[-1.0, -2.0]], reward=[1.0], reference=[[-1.0, -2.0]], terms={FLOW: [[0.5, 9.0]]})
    yield *same, {}, 0.5**2  # π = π_ref leaves log Z − log 1


@part(
    "objective",
    "tb",
    needs=needs,
    reads=reads,
    count="sequences",
    couples="group",
    tempered=False,
    owns={"flow": zero_head},
    limits=limits,
)
def tb(
    out: Out,
    batch: Batch,
    *,
    partition: Partition = "head",
    floor: float = 1e-3,
    sharpness: float = 1.0,
    prior: float = 1.0,
) -> tuple[Tensor, Metrics]:
    """Trains the policy to sample as the reference does, each answer weighed by its reward.

        L = Σ_i (log Z(x_i) + Σ_t c_t (log π(y_t) − prior · log π_ref(y_t)) − log R(y_i))²,
        R = max(r, floor)^sharpness

    `partition` "head": a module that the objective owns predicts log Z from the last hidden state of the prompt;
    "group": log Z is the mean of log R − Σ … over the samples of a prompt, which makes the loss their variance.

    Reads    logp; head term `flow`, or group_S; reward_S; reference if prior > 0; a credit c weighs tokens.
    Limits   π = π_ref^prior · R / Z → 0. One transition an answer: `db` and `subtb`.
    Fails    prior 0: π ∝ R over all strings, most of which are wrong and share the floor. Long answers: the residual
             grows with their length, and its square has a high variance; take `subtb`. A floor too low: failed answers
             dominate the loss. In the last two cases `residual` doesn't fall.
    Source   Malkin et al. 2022 (arXiv 2201.13259), section 2.3, trajectory balance with P_B = 1; log Z by group as in
             Zhang et al. 2023 (arXiv 2302.05446), section 3.2; for language models Kang et al. 2025 (arXiv 2503.06514).
    """
    some_S = batch.length_S > 0
    excess_S = batch.sum_S(over_prior(out, batch, prior)) - log_reward(batch, floor, sharpness)
    log_Z_S = within_groups(excess_S, some_S, batch) if partition == "group" else first(out.terms[FLOW], batch)
    residual_S = torch.where(some_S, excess_S + log_Z_S, 0.0)
    return (residual_S**2).sum(), {"log_z": mean_of(log_Z_S), "residual": mean_of(residual_S.abs())}
