"""One weight for correct samples, another for incorrect ones."""

from collections.abc import Iterator

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case


def limits() -> Iterator[tuple]:
    made = case([[-1.0], [-1.0, -1.0]], reward=[1.0, 0.5])
    yield *made, {}, [1.0, -1.0, -1.0]
    yield *made, {"wrong": 0.0}, [1.0, 0.0, 0.0]
    yield *made, {"threshold": 0.5}, [1.0, 1.0, 1.0]


@part("credit", "right-or-wrong", reads={"reward"}, limits=limits)
def right_or_wrong(
    out: Out, batch: Batch, *, right: float = 1.0, wrong: float = -1.0, threshold: float = 1.0
) -> Tensor:
    """Gives a sample the weight `right` if its reward reaches `threshold`, else `wrong`, independent of its group.

        credit_t = right if r_i ≥ threshold, else wrong

    Reads    reward_S.
    Limits   1 and 0 with rewards of 0 and 1 is `reward`; 1 and 1 is `constant`.
    Fails    nearly all samples incorrect: with `nll` and a negative `wrong` the loss has no lower bound, and `nll`
             grows.
    Source   Fu et al. 2025 (arXiv 2506.19767), section 4.2, eq. 11, with rewards of 1 and −1.
    """
    yes, no = out.logp_N.new_tensor(right), out.logp_N.new_tensor(wrong)
    return batch.broadcast(torch.where(batch.reward_S >= threshold, yes, no))
