"""The z-score of a reward within its group."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case


def refuse_single(name: str, size_S: Tensor, batch: Batch) -> None:
    """Raises ValueError if a group was sampled with a single completion, since its mean is no baseline.

    A group of which one completion is left, because no reward applied to the others, is accepted: its advantage is 0.
    """
    if bool((sampled_size(size_S, batch) < 2).any()):
        raise ValueError(
            f"credit {name!r} compares the rewards of a group, but a group has one sample: set size to 2 or more in "
            "the source, or take credit 'reward' or 'moving-baseline'"
        )


def sampled_size(size_S: Tensor, batch: Batch) -> Tensor:
    """The sizes of groups as they were sampled, including completions that no reward applied to."""
    return size_S if batch.lost_S is None else size_S + batch.lost_S.to(size_S)


def moments(name: str, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [S] over the episodes of each sequence's group. Raises ValueError if a group has a
    single sample."""
    mean_S, std_S, size_S = batch.group_moments(batch.reward_S)
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
    split: dict[str, Any] = dict(group=[0, 0, 0], episode=[0, 0, 1], logp=[[-1.0], [-1.0, -1.0], [-1.0]])
    yield *case(**split, reward=[1.0, 1.0, 0.0]), {"delta": 1e-12}, [0.5**0.5] * 3 + [-(0.5**0.5)]  # two members


@part("credit", "group-zscore", reads={"reward"}, couples="group", limits=limits)
def group_zscore(out: Out, batch: Batch, *, delta: float = 1e-4) -> Tensor:
    """Standardises a sample's reward within its group: Â_i = (r_i − mean_G r) / (std_G r + δ), for all its tokens.

    The standard deviation is the unbiased one (divided by G − 1), as torch.std has it.

    Reads    reward_S, group_S.
    Limits   equal rewards → 0; a constant added to all rewards changes nothing; δ → ∞ is `group-mean` up to scale.
    Fails    groups that are nearly always right or wrong weigh most (difficulty bias); `reward/equal_groups` is the
             share of groups without an advantage.
    Source   Shao et al. 2024 (arXiv 2402.03300), section 4.1.2; δ as in TRL.
    """
    if delta <= 0:
        raise ValueError(
            f"delta is {delta}: where all rewards of a group are equal, the advantage would be 0 / 0; set a small "
            "number such as 1e-4, or take credit 'group-mean', which doesn't divide"
        )
    mean_S, std_S = moments("group-zscore", batch)
    return batch.broadcast((batch.reward_S - mean_S) / (std_S + delta))
