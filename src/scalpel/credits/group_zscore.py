"""The group's z-score."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from scalpel.batch import Batch, group_moments
from scalpel.part import Out, part
from scalpel.worked_cases import case


def refuse_single(name: str, size_S: Tensor, batch: Batch) -> None:
    """Raises ValueError if a group has no spread to show; one that is left of several is a group of one, whose credit
    is 0."""
    if bool((whole(size_S, batch) < 2).any()):
        raise ValueError(
            f"credit {name!r} needs a spread of rewards, but a group has one sample: set size to 2 or more in the "
            "source, or take credit 'reward' or 'moving-baseline'"
        )


def whole(size_S: Tensor, batch: Batch) -> Tensor:
    """The sizes of groups as they were sampled, with those that nothing rewarded."""
    return size_S if batch.lost_S is None else size_S + batch.lost_S.to(size_S)


def moments(name: str, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [S] of each sequence's group. Raises ValueError if a group has no spread to show."""
    mean_S, std_S, size_S = group_moments(batch.reward_S, batch.dense_group_S())
    refuse_single(name, size_S, batch)
    return mean_S, std_S


def limits() -> Iterator[tuple]:
    two: dict[str, Any] = dict(group=[0, 0], logp=[[-1.0], [-1.0, -1.0]])
    yield *case(**two, reward=[1.0, 1.0]), {}, [0.0, 0.0, 0.0]  # equal rewards
    yield *case(**two, reward=[1.0, 0.0]), {"delta": 1e-12}, [0.5**0.5, -(0.5**0.5), -(0.5**0.5)]  # ½ / √(¼ + ¼)
    three: dict[str, Any] = dict(group=[0, 0, 0], logp=[[-1.0]] * 3)
    yield (
        *case(**three, reward=[3.0, 0.0, 0.0]),
        {"delta": 1e-12},
        [2 / 3**0.5, -1 / 3**0.5, -1 / 3**0.5],
    )  # mean 1, std √3


@part("credit", "group-zscore", reads={"reward"}, couples="group", limits=limits)
def group_zscore(out: Out, batch: Batch, *, delta: float = 1e-4) -> Tensor:
    """A sample's reward against its group's: Â_i = (r_i − mean_G r) / (std_G r + δ), the same for all its tokens.

    The standard deviation is the unbiased one.

    Reads    reward_S, group_S.
    Limits   equal rewards → 0; a constant added to all rewards changes nothing; δ → ∞ is `group-mean` up to scale.
    Fails    groups that are nearly always right or wrong weigh most; `reward/equal_groups` shows those lost.
    Source   Shao et al. 2024 (arXiv 2402.03300), section 4.1.2; δ as in TRL.
    """
    if delta <= 0:
        raise ValueError(
            f"delta is {delta}: where all rewards of a group are equal it is what keeps 0 / 0 away; give a small "
            "number such as 1e-4, or take credit 'group-mean', which doesn't divide"
        )
    mean_S, std_S = moments("group-zscore", batch)
    return batch.spread((batch.reward_S - mean_S) / (std_S + delta))
