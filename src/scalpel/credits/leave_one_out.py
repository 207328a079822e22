"""The mean reward of the group's other samples as baseline."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from scalpel.batch import Batch
from scalpel.credits.group_zscore import refuse_single
from scalpel.part import Out, part
from scalpel.worked_cases import case


def reads(kl_beta: float = 0.0, **other: Any) -> set[str]:
    return {"reward", *(("old", "reference") if kl_beta else ())}


def limits() -> Iterator[tuple]:
    two: dict[str, Any] = dict(group=[0, 0], logp=[[-1.0], [-1.0, -1.0]])
    yield *case(**two, reward=[1.0, 1.0]), {}, [0.0, 0.0, 0.0]
    yield *case(**two, reward=[1.0, 0.0]), {}, [1.0, -1.0, -1.0]  # each other is the baseline
    three: dict[str, Any] = dict(group=[0, 0, 0], logp=[[-1.0]] * 3)
    yield *case(**three, reward=[3.0, 0.0, 0.0]), {}, [3.0, -1.5, -1.5]  # 3 − 0, 0 − (3 + 0)/2
    two |= dict(old=[[-1.0], [-1.0, -2.0]], reference=[[-2.0], [-2.0, -4.0]])  # Σ log π_old/π_ref = 1 and 1 + 2
    yield *case(**two, reward=[1.0, 0.0]), {"kl_beta": 0.5}, [2.0, -2.0, -2.0]  # ½ and −1½
    split: dict[str, Any] = dict(group=[0, 0, 0], episode=[0, 0, 1], logp=[[-1.0], [-1.0, -1.0], [-1.0]])
    yield *case(**split, reward=[1.0, 1.0, 0.0]), {}, [1.0, 1.0, 1.0, -1.0]  # two members, each the other's baseline
    split |= dict(old=[[-1.0], [-1.0, -2.0], [-1.0]], reference=[[-2.0], [-2.0, -4.0], [-1.0]])  # 1 + 3 of one, and 0
    yield *case(**split, reward=[1.0, 1.0, 0.0]), {"kl_beta": 0.5}, [-1.0, -1.0, -1.0, 1.0]  # −1 and 0


@part("credit", "leave-one-out", reads=reads, couples="group", limits=limits)
def leave_one_out(out: Out, batch: Batch, *, kl_beta: float = 0.0) -> Tensor:
    """Subtracts the mean reward of the group's other samples (RLOO): Â_i = r_i − 1/(k−1) Σ_{j≠i} r_j, unbiased.

        r_i = R_i − kl_beta · Σ_t (log π_old(y_t) − log π_ref(y_t))

    Reads    reward_S, group_S; old and reference if kl_beta > 0.
    Limits   equal rewards → 0; a constant added to all rewards changes nothing; k/(k−1) times `group-mean`.
    Fails    few samples make a noisy baseline: `gradient_norm` jumps. `reward/equal_groups` is the share of groups
             without an advantage.
    Source   Ahmadian et al. 2024 (arXiv 2402.14740), section 3.
    """
    reward_S = batch.reward_S
    if kl_beta:
        assert batch.old_N is not None and batch.reference_N is not None
        reward_S = reward_S - kl_beta * batch.episode_sum(batch.sum_S(batch.old_N - batch.reference_N))
    # r_i − (k·mean − r_i) / (k − 1) = (r_i − mean) · k / (k − 1); the clamp is for a group of which one sample is left.
    mean_S, _, size_S = batch.group_moments(reward_S)
    refuse_single("leave-one-out", size_S, batch)
    return batch.broadcast((reward_S - mean_S) * size_S / (size_S - 1).clamp(min=1))
