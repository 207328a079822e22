"""The group's z-score."""

from torch import Tensor

from scalpel.batch import Batch, group_moments
from scalpel.part import Out, part


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
