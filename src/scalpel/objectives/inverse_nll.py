"""A wall before certainty."""

from collections.abc import Iterator

from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Metrics, Out, mean_of, part
from scalpel.worked_cases import case

LEAST = 1e-4  # nats a token; a mean loss below it counts as it


def mean_loss(out: Out, batch: Batch) -> Tensor:
    """ℓ̄ over the trained tokens of the step."""
    total, count = mean_of(-out.logp_N, batch.train_N)
    return (total / count).clamp(min=LEAST)


def limits() -> Iterator[tuple]:
    yield *case([[-1.0, -2.0], [-3.0]]), {}, 0.5  # ℓ̄ = 2
    yield *case([[-0.25]]), {}, 4.0  # grows without bound towards certainty
    yield *case([[-1e3, -1e3]]), {}, 1e-3  # and vanishes away from it


@part("objective", "inverse-nll", needs={"logp"}, couples="step", statistic=mean_loss, steady=True, limits=limits)
def inverse_nll(out: Out, batch: Batch, *, stat: Tensor) -> tuple[Tensor, Metrics]:
    """Keeps the model from becoming certain of what it is taught: L = 1 / ℓ̄, ℓ̄ the mean of −log π(y_t | y_<t).

    Beside `nll`, with weight c, what is lowered is ℓ̄ + c / ℓ̄, least at ℓ̄ = √c: who learns from own samples doesn't
    collapse onto them. Its gradient is that of `nll` times −1/ℓ̄². It takes no credit.

    Reads    logp.
    Limits   ℓ̄ → ∞: no loss and no gradient.
    Fails    c above ℓ̄²: it outweighs `nll`, and the samples become less likely; `nll` grows towards √c.
    Source   Mukobi et al. 2023 (arXiv 2310.16763), the inverse loss penalty of the authors' code, c = 0 by default;
             there ℓ̄ is that of a micro-batch.
    """
    mean = stat.to(out.logp_N)
    tangent_N = 2 / mean + out.logp_N / mean**2  # of 1 / ℓ̄ at the step's mean, so that micro-batches add up
    loss = tangent_N[batch.train_N].sum()
    return loss, {"inverse_nll": (1 / mean.detach(), 1.0)}
