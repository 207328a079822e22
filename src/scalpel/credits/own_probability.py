"""The token's own probability."""

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
    """A token counts as much as the model believes in it already: credit_t = sg[π(y_t | y_<t)].

    With `nll` the gradient is then −∇π(y_t): the weight 1/π that maximum likelihood puts on rare tokens is gone.

    Reads    logp.
    Limits   tokens that are certain count 1, impossible ones 0.
    Fails    what the model holds for impossible is never learnt: `nll` stays high on new facts.
    Source   Wu et al. 2025 (arXiv 2508.05629), section 3.3, eq. 9.
    """
    return out.logp_N.exp()
