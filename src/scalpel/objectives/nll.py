"""Negative log-likelihood."""

from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from scalpel.batch import DEMONSTRATION, POLICY, Batch
from scalpel.objectives.loss_average import Per, average_count
from scalpel.part import Metrics, Out, mean_of, part
from scalpel.worked_cases import case


def limits() -> Iterator[tuple]:
    yield *case([[-1.0, -2.0], [-3.0]]), {}, 2.0  # (1 + 2 + 3) / 3
    yield *case([[-1.0, -2.0], [-3.0]]), {"average": "sequence"}, 2.25  # (1.5 + 3) / 2
    yield *case([[-1.0, -2.0]], credit=[[0.5, 0.0]]), {}, 0.25  # 0.5·1 / 2
    two = case([[-1.0, -2.0]], credit=[[0.5, 0.0]], author=[[DEMONSTRATION, POLICY]])
    yield *two, {"per": "demonstration"}, 0.5  # 0.5·1 / 1


@part("objective", "nll", needs={"logp"}, count=average_count, by_credit="token", steady=True, limits=limits)
def nll(
    out: Out, batch: Batch, *, average: Literal["token", "sequence"] = "token", per: Per = "all"
) -> tuple[Tensor, Metrics]:
    """Maximises the likelihood of the given tokens: L = −Σ_t c_t · log π(y_t | y_<t), divided by the trained tokens.

    `average` "sequence": the mean of each sequence's own mean, so that a short one counts as much as a long one.

    Where samples and demonstrations share a batch, `per` divides by the tokens of one author; give the credit
    `written-by` for the same author beside it.

    Reads    logp, credit.
    Limits   credit 1 is maximum likelihood; credit = the sample's reward is REINFORCE without a baseline.
    Fails    overfitting: log-probs near 0 on the data while retention probes fall.
    Source   Wei et al. 2021 (arXiv 2109.01652), section 2; the mean is over the tokens of the whole step.
    """
    assert batch.credit_N is not None
    gain_N = batch.credit_N * out.logp_N
    loss = -gain_N.sum() if average == "token" else -batch.mean_S(gain_N).sum()
    return loss, {"nll": mean_of(-out.logp_N, batch.train_N), "probability": mean_of(out.logp_N.exp(), batch.train_N)}
