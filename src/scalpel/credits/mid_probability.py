"""The highest weight for tokens of medium probability."""

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
    """Gives tokens of medium probability the most weight: credit_t = p (1 − p), p = sg[π(y_t | y_<t)].

    Tokens that are already certain carry little information, and very unlikely ones would change the policy most.

    Reads    logp.
    Limits   p = 0 and p = 1 have weight 0, p = ½ has ¼; for small p it is `own-probability`.
    Fails    demonstrations far from the policy's own distribution: all weights are near 0 and `nll` stays high.
    Source   Zhang et al. 2025 (arXiv 2508.11408), section 3.3, eq. 5, the weight φ.
    """
    p_N = out.logp_N.exp()
    return p_N * (1 - p_N)
