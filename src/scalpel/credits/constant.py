"""Every token counts the same."""

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part


@part("credit", "constant")
def constant(out: Out, batch: Batch) -> Tensor:
    """Every trained token counts one: credit_N = 1.

    Reads    nothing.
    Limits   with `nll` it is maximum likelihood.
    Fails    good and bad tokens weigh alike.
    Source   maximum likelihood; METHODS under supervised fine-tuning.
    """
    return torch.ones_like(out.logp_N)
