"""The group's z-score."""

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part


def group_moments(reward_S: Tensor, group_S: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, unbiased standard deviation and size of each sequence's group, all [S]."""
    G = int(group_S.max()) + 1
    size_G = torch.bincount(group_S, minlength=G).to(reward_S.dtype)
    mean_G = reward_S.new_zeros(G).index_add(0, group_S, reward_S) / size_G
    square_G = reward_S.new_zeros(G).index_add(0, group_S, (reward_S - mean_G[group_S]) ** 2)
    std_G = (square_G / (size_G - 1).clamp(min=1)).sqrt()
    return mean_G[group_S], std_G[group_S], size_G[group_S]


@part("credit", "group-zscore", reads={"reward"}, couples="group")
def group_zscore(out: Out, batch: Batch, *, delta: float = 1e-4) -> Tensor:
    """A sample's reward against its group's: Â_i = (r_i − mean_G r) / (std_G r + δ), the same for all its tokens.

    The standard deviation is the unbiased one.

    Reads    reward_S, group_S.
    Limits   equal rewards → 0; δ → ∞ is `group-mean` up to scale.
    Fails    groups that are nearly always right or wrong weigh most; `reward/equal_groups` shows those lost.
    Source   Shao et al. 2024 (arXiv 2402.03300), section 4.1.2; δ as in TRL.
    """
    mean_S, std_S, size_S = group_moments(batch.reward_S, batch.dense_group_S())
    if bool((size_S < 2).any()):
        raise ValueError(
            "credit 'group-zscore' needs a spread of rewards, but a group has one sample: set size to 2 or more in "
            "the source, or take credit 'reward'"
        )
    return batch.spread((batch.reward_S - mean_S) / (std_S + delta))
