"""The group's mean reward as baseline."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from scalpel.batch import Batch
from scalpel.credits.group_zscore import moments
from scalpel.part import Out, part
from scalpel.worked_cases import case


def limits() -> Iterator[tuple]:
    two: dict[str, Any] = dict(group=[0, 0], logp=[[-1.0], [-1.0, -1.0]])
    yield *case(**two, reward=[1.0, 1.0]), {}, [0.0, 0.0, 0.0]
    yield *case(**two, reward=[1.0, 0.0]), {}, [0.5, -0.5, -0.5]  # mean ½
    split: dict[str, Any] = dict(group=[0, 0, 0], episode=[0, 0, 1], logp=[[-1.0], [-1.0, -1.0], [-1.0]])
    yield *case(**split, reward=[1.0, 1.0, 0.0]), {}, [0.5, 0.5, 0.5, -0.5]  # an episode in two sequences is one member


@part("credit", "group-mean", reads={"reward"}, couples="group", limits=limits)
def group_mean(out: Out, batch: Batch) -> Tensor:
    """Subtracts the mean reward of the group from a sample's reward: Â_i = r_i − mean_G r, for all its tokens.

    Reads    reward_S, group_S.
    Limits   equal rewards → 0; a constant added to all rewards changes nothing; twice the rewards, twice the advantage.
    Fails    several rewards on different scales: the widest dominates. `reward/equal_groups` is the share of groups
             without an advantage.
    Source   Liu et al. 2025 (arXiv 2503.20783), section 3.2.
    """
    mean_S, _ = moments("group-mean", batch)
    return batch.broadcast(batch.reward_S - mean_S)
