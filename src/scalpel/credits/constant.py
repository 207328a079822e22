"""The same weight for every token."""

from collections.abc import Iterator

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case


def limits() -> Iterator[tuple]:
    yield *case([[-1.0, -2.0], [-3.0]]), {}, [1.0, 1.0, 1.0]


@part("credit", "constant", limits=limits)
def constant(out: Out, batch: Batch) -> Tensor:
    """Gives every trained token the weight 1: credit_N = 1.

    Reads    nothing.
    Limits   with `nll` it is maximum likelihood.
    Fails    tokens that matter and tokens that don't have the same weight.
    Source   Wei et al. 2021 (arXiv 2109.01652), section 2, supervised fine-tuning.
    """
    return torch.ones_like(out.logp_N)
