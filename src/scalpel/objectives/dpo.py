"""Direct preference optimisation."""

from collections.abc import Iterator
from math import exp, log
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from scalpel.batch import Batch
from scalpel.part import Metrics, Out, mean_of, part
from scalpel.worked_cases import case

Loss = Literal["logistic", "hinge"]


def margin_loss(margin_G: Tensor, loss: Loss) -> Tensor:
    """ℓ of a margin: −log σ(m), or max(0, 1 − m)."""
    return relu(1 - margin_G) if loss == "hinge" else -logsigmoid(margin_G)


def limits() -> Iterator[tuple]:
    pair: dict[str, Any] = dict(group=[0, 0], label=[1, -1])
    home = [[-1.0, -2.0], [-4.0]]
    yield *case(home, reference=home, **pair), {}, log(2)  # policy = reference
    moved = case([[0.0, 0.0], [-4.0]], reference=home, **pair)  # h = (1 + 2) − 0
    yield *moved, {"beta": 0.0}, log(2)
    yield *moved, {"beta": 1.0}, log(1 + exp(-3))
    yield *moved, {"beta": 1.0, "label_smoothing": 0.5}, 0.5 * log(1 + exp(-3)) + 0.5 * log(1 + exp(3))
    yield *moved, {"beta": 0.1, "loss": "hinge"}, 0.7  # 1 − 0.3
    yield *moved, {"beta": 1.0, "loss": "hinge"}, 0.0  # far enough apart
    yield *moved, {"beta": 1.0, "loss": "hinge", "label_smoothing": 0.5}, 2.0  # ½ (0 + 1 + 3)


@part("objective", "dpo", needs={"logp"}, reads={"reference", "pair"}, count="pairs", couples="pair", limits=limits)
def dpo(
    out: Out, batch: Batch, *, beta: float = 0.1, label_smoothing: float = 0.0, loss: Loss = "logistic"
) -> tuple[Tensor, Metrics]:
    """Raises the likelihood of a pair's preferred answer over the rejected one, relative to the reference model.

        L = Σ_pairs (1−ε)·ℓ(β h) + ε·ℓ(−β h),   h = r_w − r_l,   r = Σ_t c_t (log π(y_t) − log π_ref(y_t))
        logistic  ℓ(m) = −log σ(m)        hinge  ℓ(m) = max(0, 1 − m)

    h is the difference of the implicit rewards r. Under the hinge a pair with a margin of 1 or more has no gradient.

    Reads    logp, reference, label_S, group_S; a credit c weighs tokens.
    Limits   policy = reference, or β = 0: log 2 a pair, or 1 under the hinge; ε is the assumed share of flipped labels.
    Fails    both answers become less likely, the rejected one faster (likelihood displacement): `chosen` below 0.
    Source   Rafailov et al. 2023 (arXiv 2305.18290), eq. 7; ε from Mitchell 2023, conservative DPO; hinge Zhao et al.
             2023 (arXiv 2305.10425), for self-play as in the code of Chen et al. 2024 (arXiv 2401.01335).
    """
    assert batch.reference_N is not None and batch.credit_N is not None
    r_S = batch.sum_S(batch.credit_N * (out.logp_N - batch.reference_N))
    # A pair is a group of two with labels 1 and −1, so the sum of label · r over the group is r_w − r_l.
    pair_S = batch.dense_group_S()
    h_G = r_S.new_zeros(batch.S).index_add(0, pair_S, batch.label_S * r_S)[: int(pair_S.max()) + 1]
    loss_G = (1 - label_smoothing) * margin_loss(beta * h_G, loss) + label_smoothing * margin_loss(-beta * h_G, loss)
    return loss_G.sum(), {
        "margin": mean_of(beta * h_G),
        "accuracy": mean_of((h_G > 0).float()),
        "chosen": mean_of(beta * torch.where(batch.label_S > 0, r_S, 0.0), batch.label_S > 0),
        "rejected": mean_of(beta * torch.where(batch.label_S < 0, r_S, 0.0), batch.label_S < 0),
    }
