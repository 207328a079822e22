"""A lower weight for the turns before the last one."""

from collections.abc import Iterator

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case


def limits() -> Iterator[tuple]:
    two = case([[-1.0] * 3, [-1.0]], turn=[[0, 0, 1], [0]])
    yield *two, {}, [0.4, 0.4, 1.0, 1.0]
    yield *two, {"weight": 1.0}, [1.0] * 4
    yield *two, {"weight": 0.0}, [0.0, 0.0, 1.0, 1.0]


@part("credit", "earlier-turns", couples="sequence", limits=limits)
def earlier_turns(out: Out, batch: Batch, *, weight: float = 0.4) -> Tensor:
    """Gives the last turn of a sequence the weight 1, and the turns or episodes of reasoning before it `weight`.

        credit_t = 1 if turn(t) is the last one in which y has a trained token, else weight

    So the loss of a short final action isn't dominated by the long chain of thought before it.

    Reads    turn_N.
    Limits   weight 1, or a single turn, is `constant`; weight 0 learns from the last turn alone.
    Fails    weight too low: the reasoning is hardly trained, and stops predicting the action. A source without turns:
             every sequence is a single one.
    Source   Zhai et al. 2024 (arXiv 2405.10292), eq. 4.3, λ on the log-probs of a thought; likewise Kang et al. 2025
             (arXiv 2503.06514).
    """
    turn_n, seq_n = batch.turn_N[batch.train_N], batch.seq_N[batch.train_N]
    last_S = turn_n.new_full((batch.S,), -1).scatter_reduce(0, seq_n, turn_n, "amax")
    return torch.where(batch.turn_N < batch.broadcast(last_S), weight, 1.0).to(out.logp_N.dtype)
