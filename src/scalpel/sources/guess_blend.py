"""Answers shown half as they are and half as the model guesses them."""

from dataclasses import replace

import torch

from scalpel.batch import Batch
from scalpel.binding.bounds import Share
from scalpel.part import Out, part


@part("corruption", "guess-blend", needs={"argmax"})
def guess_blend(batch: Batch, *, mask_id: int, seed: int, out: Out | None = None, rate: Share = 0.2) -> Batch:
    """Shows each answer token as a blend of its own embedding and that of the model's guess for it.

        e_t = (1 − rate) · E[y_t] + rate · E[ŷ_t],   ŷ_t = argmax π(· | y_<t),   all targets stay

    The guesses come from a pass without gradients over the batch as it was shown before. So the model learns to go
    on from what it would have said itself, without sampling.

    Reads    the likeliest token at each trained place; train_N.
    Limits   rate 0 changes nothing; rate 1 shows the guesses alone; a model that is right is shown the answer.
    Fails    a rate too high for a model that guesses badly: `nll` stays high, as nothing right is shown.
    Source   Hua et al. 2024 (arXiv 2405.11870), section 4.1, eq. 17; greedy guesses as in algorithm 1. In
             the authors' code the embeddings of the input stay as they were at first; here they are trained as well.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate of corruption 'guess-blend' is {rate}, but it is a share of what is shown: set 0 to 1")
    if out is None or out.argmax_N is None:
        assert not bool(batch.train_N.any()), "no guesses were handed to a batch that has trained tokens"
        return batch
    guess_N = torch.where(batch.train_N, out.argmax_N.to(batch.ids_N), batch.input_N)
    return replace(batch, mix_ids_N=guess_N, mix_N=rate * batch.train_N.float())
