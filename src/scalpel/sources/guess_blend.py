"""Input embeddings blended with those of the model's own predictions."""

from dataclasses import replace

import torch

from scalpel.batch import Batch
from scalpel.binding.bounds import Share
from scalpel.part import Out, part


@part("corruption", "guess-blend", needs={"argmax"})
def guess_blend(batch: Batch, *, mask_id: int | None, seed: int, out: Out | None = None, rate: Share = 0.2) -> Batch:
    """Replaces the input embedding of each answer token by a blend with that of the model's own prediction.

        e_t = (1 − rate) · E[y_t] + rate · E[ŷ_t],   ŷ_t = argmax π(· | y_<t),   the targets don't change

    The predictions come from a forward pass without gradients over the unblended batch. So the model learns to continue
    its own predictions, which reduces exposure bias without sampling.

    Reads    the most likely token at each trained position; train_N.
    Limits   rate 0 changes nothing; rate 1 has predictions only as input; correct predictions change nothing.
    Fails    a rate too high for a weak model: `nll` stays high, since the input is mostly wrong.
    Source   Hua et al. 2024 (arXiv 2405.11870), section 4.1, eq. 17; greedy guesses as in algorithm 1. In
             the authors' code the embeddings of the input stay as they were at first; here they are trained as well.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate of corruption 'guess-blend' is {rate}, but it is a share of the input: set 0 to 1")
    if out is None or out.argmax_N is None:
        assert not bool(batch.train_N.any()), "no guesses were handed to a batch that has trained tokens"
        return batch
    guess_N = torch.where(batch.train_N, out.argmax_N.to(batch.ids_N), batch.input_N)
    mix_N = rate * batch.train_N.float()
    if batch.mix_N is not None and batch.mix_ids_N is not None:  # what is blended already, or masked, stays so
        guess_N = torch.where(batch.mix_N > 0, batch.mix_ids_N, guess_N)
        mix_N = torch.where(batch.mix_N > 0, batch.mix_N, mix_N)
    return replace(batch, mix_ids_N=guess_N, mix_N=mix_N)
