"""A filter for short correct answers and long incorrect ones."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.binding.bounds import Share
from scalpel.part import Out, part
from scalpel.worked_cases import case


def replayed_S(batch: Batch) -> Tensor:
    """[S]: whether a sequence was trained on in an earlier step, as its column `replayed` says."""
    flags = [bool(row.get("replayed", False)) for row in batch.columns] or [False] * batch.S
    return torch.tensor(flags, device=batch.group_S.device)


def lowest_share(key_S: Tensor, unit_S: Tensor, share: float) -> Tensor:
    """[S]: whether its key is among the lowest `share` of its unit, at least one. Ties are all included, so that the
    order of rows doesn't matter."""
    chosen_S = torch.zeros_like(unit_S, dtype=torch.bool)
    for unit in torch.unique(unit_S).tolist():
        key_s = key_S[unit_S == unit]
        k = min(len(key_s), max(1, round(share * len(key_s))))
        chosen_S |= (unit_S == unit) & (key_S <= key_s.sort().values[k - 1])
    return chosen_S


def limits() -> Iterator[tuple]:
    lengths = [[-1.0] * n for n in (1, 2, 1, 2)]
    four: dict[str, Any] = dict(logp=lengths, group=[0] * 4, reward=[1.0, 1.0, 0.0, 0.0])
    yield *case(**four), {}, [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]  # the short correct one, the long incorrect one
    yield *case(**four), {"share": 1.0}, [1.0] * 6
    even: dict[str, Any] = dict(logp=[[-1.0]] * 2, group=[0, 0], reward=[1.0, 1.0])
    yield *case(**even), {}, [1.0, 1.0]  # equally short
    yield *case(**even), {"threshold": 2.0}, [1.0, 1.0]  # equally long
    split: dict[str, Any] = dict(logp=[[-1.0]] * 4, group=[0] * 4, episode=[0, 0, 0, 1], reward=[1.0] * 4)
    yield *case(**split), {}, [0.0, 0.0, 0.0, 1.0]  # one of three tokens in three sequences, and a shorter one


@part("credit", "recompose", reads={"reward"}, couples="group", limits=limits)
def recompose(out: Out, batch: Batch, *, share: Share = 0.5, threshold: float = 0.5) -> Tensor:
    """Keeps only the shortest correct and the longest incorrect answers of each group, which rewards brevity.

        credit_t = 1 if y is among the `share` shortest correct, or longest incorrect, answers of its group, else 0

    An answer is correct if its reward is at least `threshold`. Rewards and other credits don't change: give it beside a
    credit that compares rewards. For answers that source `replayed-groups` replays, the filter is inverted: those that
    were left out before are trained on now.

    Reads    reward_S, group_S, lengths, column `replayed`.
    Limits   share 1 is `constant` on newly sampled answers.
    Fails    share too small: `completion_length` falls and `reward` with it.
    Source   Li et al. 2025 (arXiv 2509.25958), priority and compensation batches; the share is not stated there for a
             single group.
    """
    right_S = batch.reward_S >= threshold
    unit_S = 2 * batch.dense_group_S() + right_S.long()
    length_S, (first_E, episode_S) = batch.episode_sum(batch.length_S), batch.episodes()
    key_S = torch.where(right_S, length_S, -length_S)
    chosen_S = lowest_share(key_S[first_E], unit_S[first_E], share)[episode_S]
    return batch.broadcast((chosen_S != replayed_S(batch)).to(out.logp_N.dtype))
