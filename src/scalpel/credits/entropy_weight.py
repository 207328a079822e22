"""A weight for each sequence that depends on the policy's entropy on it."""

from collections.abc import Iterator
from math import exp

from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case


def limits() -> Iterator[tuple]:
    made = case([[-1.0, -1.0], [-1.0]], entropy=[[0.0, 2.0], [0.0]])  # mean entropies 1 and 0
    yield *made, {}, [0.5 * exp(-1), 0.5 * exp(-1), 0.5]
    yield *made, {"scale": 0.1, "slope": 1.0}, [0.1 * exp(1), 0.1 * exp(1), 0.1]
    yield *made, {"scale": 1.0, "slope": 0.0}, [1.0, 1.0, 1.0]


@part("credit", "entropy-weight", needs={"entropy"}, couples="sequence", limits=limits)
def entropy_weight(out: Out, batch: Batch, *, scale: float = 0.5, slope: float = -1.0) -> Tensor:
    """Weighs a sequence by the policy's mean entropy on it: credit_t = scale · exp(slope · mean_t H_t).

    A negative slope lowers the weight where the policy is uncertain, as for imitation; a positive one raises it there,
    against entropy collapse.

    Reads    entropy.
    Limits   slope 0, scale 1 is `constant`; entropy 0 gives `scale`.
    Fails    a positive slope on noise: entropy and weight raise each other; watch `entropy`.
    Source   Fu et al. 2025 (arXiv 2506.19767), eq. 8 and eq. 12, the weights of the supervised and of the
             reinforced term.
    """
    assert out.entropy_N is not None
    return batch.broadcast(scale * (slope * batch.mean_S(out.entropy_N)).exp())
