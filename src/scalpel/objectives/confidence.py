"""Weak-to-strong training with an auxiliary confidence loss."""

from collections.abc import Iterator
from typing import Any, Literal

from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import HeadTerm, Metrics, Need, Out, mean_of, part
from scalpel.worked_cases import case

Labels = Literal["soft", "hard"]
WEAK, OWN = HeadTerm("forward_kl", "weak"), HeadTerm("own_choice")


def needs(labels: Labels = "soft", **other: Any) -> set[Need]:
    return {OWN, WEAK} if labels == "soft" else {OWN, "logp"}


def limits() -> Iterator[tuple]:
    terms = {WEAK: [[0.6, 0.2]], OWN: [[0.1, 0.3]]}
    yield *case([[-1.0, -2.0]], terms=terms), {"alpha": 0.0}, 0.4  # distillation from the weak model: (0.6 + 0.2) / 2
    yield *case([[-1.0, -2.0]], terms=terms), {"alpha": 1.0}, 0.2  # its own argmax alone: (0.1 + 0.3) / 2
    yield *case([[-1.0, -2.0]], terms=terms), {"alpha": 0.5}, 0.3
    yield *case([[-1.0, -2.0]], terms=terms), {"alpha": 0.0, "labels": "hard"}, 1.5  # `nll`: (1 + 2) / 2
    yield *case([[-1.0, -2.0]], terms=terms, credit=[[1.0, 0.0]]), {"alpha": 0.5, "labels": "hard"}, 0.275


@part("objective", "confidence", needs=needs, by_credit="token", limits=limits)
def confidence(out: Out, batch: Batch, *, alpha: float = 0.5, labels: Labels = "soft") -> tuple[Tensor, Metrics]:
    """Learns from a weaker model's labels, with an auxiliary loss that reinforces the model's own argmax predictions.

        L = Σ_t c_t [(1 − α) D_t − α log p_t(ŷ_t)],   ŷ_t = argmax_v p_t(v), without gradient

    D_t is KL(w_t ‖ p_t) for the weak model's whole distribution w ("soft"), or −log p_t(y_t) for the token that it
    sampled ("hard"). Warm α up from 0 early in the run: {from = 0.0, to = 0.5, until = 0.1}; over = "jump" is the
    schedule of the authors' code.

    Reads    logp, or the head term forward_kl against role `weak`; the head term own_choice; credit.
    Limits   α = 0 is distillation from the weak model, or `nll` on its text; α = 1 is self-training on hard labels.
    Fails    α too high or too early: every prediction becomes certain, right or wrong: `own` falls to 0 and accuracy
             doesn't rise.
    Source   Burns et al. 2023 (arXiv 2312.09390), section 4.3 and appendix A.4; there for classes, with a threshold
             that balances them, here for tokens without one.
    """
    assert batch.credit_N is not None
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}, but it is the weight of the model's own predictions: set 0 to 1")
    given_N = out.terms[WEAK] if labels == "soft" else -out.logp_N
    own_N = out.terms[OWN]
    loss = (batch.credit_N * ((1 - alpha) * given_N + alpha * own_N)).sum()
    return loss, {"given": mean_of(given_N, batch.train_N), "own": mean_of(own_N, batch.train_N)}
