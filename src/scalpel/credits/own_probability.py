"""The token's probability under the policy as its weight."""

from collections.abc import Iterator
from math import log

from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case


def limits() -> Iterator[tuple]:
    yield *case([[0.0, log(0.5), log(0.1)]]), {}, [1.0, 0.5, 0.1]


@part("credit", "own-probability", needs={"logp"}, limits=limits)
def own_probability(out: Out, batch: Batch) -> Tensor:
    """Weighs a token by its present probability under the policy (DFT): credit_t = sg[π(y_t | y_<t)].

    With `nll` the gradient is then −∇π(y_t): it cancels the factor 1/π by which maximum likelihood weighs rare tokens.

    Reads    logp.
    Limits   a token of probability 1 has weight 1, one of probability 0 has weight 0.
    Fails    very unlikely tokens are never learnt: `nll` stays high on new facts.
    Source   Wu et al. 2025 (arXiv 2508.05629), section 3.3, eq. 9.
    """
    return out.logp_N.exp()
