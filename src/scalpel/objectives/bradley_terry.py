"""A reward model's objective."""

from collections.abc import Iterator
from math import exp, log

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from scalpel.batch import Batch
from scalpel.part import HeadTerm, Metrics, Out, OwnedHead, mean_of, part, score_head
from scalpel.worked_cases import case

SCORE = OwnedHead("score", after=True)


def last(x_N: Tensor, batch: Batch) -> Tensor:
    """[S]: the number at each sequence's last trained token; 0 where it has none."""
    at_n = batch.train_N.nonzero()[:, 0]
    last_S = at_n.new_full((batch.S,), -1).scatter_reduce(0, batch.seq_N[at_n], at_n, "amax")
    return torch.cat([x_N, x_N.new_zeros(1)])[last_S]


def by_pair(x_S: Tensor, batch: Batch) -> Tensor:
    """[G]: the sum over each group."""
    group_S = batch.dense_group_S()
    return x_S.new_zeros(int(group_S.max()) + 1).index_add(0, group_S, x_S)


def margin_S(batch: Batch, column: str, like_S: Tensor) -> Tensor:
    """[S]: the margin at the preferred sequence of each pair, from its row in the data."""
    if not column:
        return torch.zeros_like(like_S)
    labelled = zip(batch.columns, batch.label_S.tolist(), strict=True)
    told = [row.get(column) if label > 0 else 0.0 for row, label in labelled]
    if any(isinstance(m, bool) or not isinstance(m, int | float) for m in told):
        odd = next(m for m in told if isinstance(m, bool) or not isinstance(m, int | float))
        raise ValueError(
            f"objective 'bradley-terry' takes each pair's margin from the column {column!r}, but a row has {odd!r} "
            "there: give every pair a number, or leave `margin` out"
        )
    return like_S.new_tensor(told)


def limits() -> Iterator[tuple]:
    def pair(chosen: float, rejected: float) -> tuple:
        scored: dict[HeadTerm, list[list[float]]] = {
            SCORE: [[9.0, chosen], [rejected]]
        }  # the last token's score alone counts
        return case([[-1.0, -2.0], [-4.0]], group=[0, 0], label=[1, -1], terms=scored)

    yield *pair(2.0, 2.0), {}, log(2)  # equal scores
    yield *pair(4.0, 1.0), {}, log(1 + exp(-3))
    yield *pair(1.0, 4.0), {}, log(1 + exp(3))
    yield *pair(4.0, 1.0), {"centre": 0.01}, log(1 + exp(-3)) + 0.01 * 5.0**2
    yield *pair(2.0, -2.0), {"centre": 0.01}, log(1 + exp(-4))  # centred already


@part(
    "objective",
    "bradley-terry",
    needs={SCORE},
    reads={"pair"},
    count="pairs",
    couples="pair",
    owns={"score": score_head},
    scores="score",
    limits=limits,
)
def bradley_terry(out: Out, batch: Batch, *, margin: str = "", centre: float = 0.0) -> tuple[Tensor, Metrics]:
    """Trains a reward model: the score of the preferred answer of a pair above that of the rejected one.

        L = Σ_pairs −log σ(r_w − r_l − m) + centre · (r_w + r_l)²,   r = w·h, h the hidden state at the last token

    `margin` names a column of the data with the m of each pair, by how much better it was judged; 0 without one. Only
    differences of scores are learnt, so `centre` keeps their mean near 0. The model is saved as a sequence classifier.
    Credits have no say.

    Reads    the head `score` at each sequence's last trained token; label_S, group_S; the column `margin`.
    Limits   equal scores: log 2 a pair.
    Fails    `accuracy` on the pairs of the batch rises far above that on others: fewer epochs. Scores that follow the
             length of answers, since preferred ones are often longer.
    Source   Ouyang et al. 2022 (arXiv 2203.02155), eq. 1; margin Touvron et al. 2023 (arXiv 2307.09288), eq. 2; centre
             Eisenstein et al. 2023 (arXiv 2312.09244), as `center_rewards_coefficient` in TRL, which advises 0.01.
    """
    r_S = last(out.terms[SCORE], batch)
    h_G = by_pair(batch.label_S * r_S, batch)
    paired_S = batch.label_S != 0
    loss = -logsigmoid(h_G - by_pair(margin_S(batch, margin, r_S), batch)).sum()
    loss = loss + centre * (by_pair(torch.where(paired_S, r_S, 0.0), batch) ** 2).sum()
    return loss, {
        "margin": mean_of(h_G),
        "accuracy": mean_of((h_G > 0).float()),
        "score": mean_of(r_S, paired_S),
    }
