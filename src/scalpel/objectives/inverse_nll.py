"""A penalty that keeps the mean loss away from zero."""

from collections.abc import Iterator

from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Metrics, Out, mean_of, part
from scalpel.worked_cases import case

MIN_LOSS = 1e-4  # nats a token; a lower bound on the mean loss, since 1 / ℓ̄ diverges at 0


def mean_loss(out: Out, batch: Batch) -> Tensor:
    """ℓ̄ over the trained tokens of the step."""
    total, count = mean_of(-out.logp_N, batch.train_N)
    return (total / count).clamp(min=MIN_LOSS)


def limits() -> Iterator[tuple]:
    yield *case([[-1.0, -2.0], [-3.0]]), {}, 0.5  # ℓ̄ = 2
    yield *case([[-0.25]]), {}, 4.0  # it diverges as the probability approaches 1
    yield *case([[-1e3, -1e3]]), {}, 1e-3  # and vanishes for unlikely tokens


@part("objective", "inverse-nll", needs={"logp"}, couples="step", statistic=mean_loss, steady=True, limits=limits)
def inverse_nll(out: Out, batch: Batch, *, stat: Tensor) -> tuple[Tensor, Metrics]:
    """Penalises overconfidence in the training data: L = 1 / ℓ̄, ℓ̄ the mean of −log π(y_t | y_<t).

    Together with `nll`, at weight c, the total is ℓ̄ + c / ℓ̄, with its minimum at ℓ̄ = √c, so that self-training
    doesn't collapse onto its own samples. Its gradient is that of `nll` times −1/ℓ̄². It takes no credit.

    Reads    logp.
    Limits   ℓ̄ → ∞: no loss and no gradient.
    Fails    c above ℓ̄²: it outweighs `nll`, and the samples become less likely; `nll` grows towards √c.
    Source   Mukobi et al. 2023 (arXiv 2310.16763), the inverse loss penalty of the authors' code, c = 0 by default;
             there ℓ̄ is that of a micro-batch.
    """
    mean = stat.to(out.logp_N)
    # 1 / ℓ̄ is not a sum over tokens, so micro-batches would not add up. Its tangent at the mean of the whole step is
    # linear in the log-probs, and has the same value and the same gradient there.
    tangent_N = 2 / mean + out.logp_N / mean**2
    loss = tangent_N[batch.train_N].sum()
    return loss, {"inverse_nll": (1 / mean.detach(), 1.0)}
