"""KL divergence from the reference model."""

from collections.abc import Iterator
from math import e
from typing import Any, Literal

from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import COUNTS, HeadTerm, Metrics, Need, Out, mean_of, part
from scalpel.worked_cases import case

Average = Literal["token", "sequence"]
Estimator = Literal["k1", "k2", "k3", "k3-forward", "exact-reverse", "exact-forward"]
To = Literal["reference", "base"]
MAX_LOG_RATIO = 20.0  # log-ratios are clamped to ± this, where they get no gradient, so that exp() in k3 stays finite
EXACT = {"exact-reverse": "reverse_kl", "exact-forward": "forward_kl"}


def exact(estimator: str, to: To = "reference") -> HeadTerm:
    return HeadTerm(EXACT[estimator], to)


def needs(estimator: Estimator = "exact-reverse", to: To = "reference", **other: Any) -> set[Need]:
    if estimator in EXACT:
        return {exact(estimator, to)}
    if to != "reference":
        raise ValueError(
            f"anchor 'kl' can't measure the divergence from the {to} with estimator {estimator}, which needs the "
            f"reference's log-probs: take estimator {' or '.join(EXACT)}, or set the stage's reference to {to!r}"
        )
    return {"logp"}


def reads(estimator: Estimator = "exact-reverse", **other: Any) -> set[str]:
    return set() if estimator in EXACT else {"reference"}


def count(batch: Batch, *, average: Average = "token", **other: Any) -> float:
    return COUNTS["sequences" if average == "sequence" else "tokens"](batch)


def divergence(out: Out, batch: Batch, estimator: Estimator, to: To = "reference") -> Tensor:
    if estimator in EXACT:
        return out.terms[exact(estimator, to)]
    assert batch.reference_N is not None
    d_N = (out.logp_N - batch.reference_N).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    # With g = ∇log π their gradients are g, d·g and (1 − e^−d)·g: that the samples depend on π is not differentiated.
    if estimator == "k1":
        return d_N
    if estimator == "k2":
        return 0.5 * d_N**2
    return d_N.exp() - 1 - d_N if estimator == "k3-forward" else (-d_N).exp() - 1 + d_N


def limits() -> Iterator[tuple]:
    home = [[-1.0, -2.0]]
    away = case([[0.0, -2.0]], reference=home)  # d = 1, 0
    for estimator, at_one in {"k1": 1.0, "k2": 0.5, "k3": 1 / e, "k3-forward": e - 2}.items():
        yield *case(home, reference=home), {"estimator": estimator}, 0.0
        yield *away, {"estimator": estimator, "beta": 1.0}, at_one / 2
    for estimator in EXACT:
        yield *case(home, terms={exact(estimator): [[0.2, 0.4]]}), {"estimator": estimator, "beta": 0.5}, 0.15
    two = case([[-1.0, -2.0], [-3.0]], terms={exact("exact-reverse"): [[0.2, 0.4], [0.9]]})
    yield *two, {"beta": 1.0}, 0.5  # (0.2 + 0.4 + 0.9) / 3
    yield *two, {"beta": 1.0, "average": "sequence"}, 0.6  # ((0.2 + 0.4) / 2 + 0.9) / 2


@part("anchor", "kl", needs=needs, reads=reads, count=count, couples="sequence", limits=limits)
def kl(
    out: Out,
    batch: Batch,
    *,
    beta: float = 0.1,
    estimator: Estimator = "exact-reverse",
    average: Average = "token",
    to: To = "reference",
) -> tuple[Tensor, Metrics]:
    """Penalises the KL divergence of the policy from the reference model at each token: β Σ_t D_t.

        exact-reverse  KL(π ‖ π_ref) over the vocabulary       exact-forward  KL(π_ref ‖ π) over the vocabulary
        k1  d        k2  ½ d²        k3  exp(−d) − 1 + d       d = log π(y_t) − log π_ref(y_t)
        k3-forward  exp(d) − 1 − d

    The exact forms are valid on any text, at the cost of the reference's logits. k1, k2 and k3 are valid only on
    on-policy samples. There k1 and k3 are unbiased for the value of KL(π ‖ π_ref). As a loss, k2 has its gradient; the
    gradient of k1 is 0 in expectation; k3 has the gradient of KL(π_ref ‖ π). k3-forward is for text that the reference
    sampled: there it is unbiased for KL(π_ref ‖ π), and so is its gradient. `average` "sequence": each sequence has the
    same weight, whatever its length, as in GRPO. `to` "base", exact only: the base model of the run, whatever the
    reference of the stage is.

    Reads    the head term against role `reference` or `base`, or logp and reference.
    Limits   0 where policy and reference agree; β = 0 is no anchor.
    Fails    β too high: nothing is learnt; too low: `kl` grows along the run.
    Source   Schulman 2020, "Approximating KL divergence"; k3 in arXiv 2402.03300, eq. 4; gradients as in
             arXiv 2506.09477.
    """
    divergence_N = divergence(out, batch, estimator, to)
    averaged = batch.mean_S(divergence_N) if average == "sequence" else divergence_N
    return beta * averaged.sum(), {"kl": mean_of(divergence_N, batch.train_N)}
