"""Neither what is known nor what is out of reach."""

from collections.abc import Iterator
from math import log

from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case


def limits() -> Iterator[tuple]:
    yield *case([[0.0, log(0.5), log(0.1)]]), {}, [0.0, 0.25, 0.09]


@part("credit", "mid-probability", needs={"logp"}, limits=limits)
def mid_probability(out: Out, batch: Batch) -> Tensor:
    """Tokens that the model half believes in count most: credit_t = p (1 − p), p = sg[π(y_t | y_<t)].

    What is certain has nothing to teach, and what is all but impossible would disturb most.

    Reads    logp.
    Limits   p = 0 and p = 1 count nothing, p = ½ counts ¼; where p is small it is `own-probability`.
    Fails    demonstrations far from what the policy writes: all weights are near 0 and `nll` stays high.
    Source   Zhang et al. 2025 (arXiv 2508.11408), section 3.3, eq. 5, the weight φ.
    """
    p_N = out.logp_N.exp()
    return p_N * (1 - p_N)
