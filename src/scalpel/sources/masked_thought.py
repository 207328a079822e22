"""Random masking of answer tokens in the input."""

from dataclasses import replace

import torch
from torch import Tensor

from scalpel.batch import MEAN_EMBEDDING, Batch
from scalpel.binding.bounds import Share
from scalpel.part import part


@part("corruption", "masked-thought")
def masked_thought(batch: Batch, *, mask_id: int | None, seed: int, rate: Share = 0.4) -> Batch:
    """Masks each token of the answer in the input with probability `rate`; all of them stay targets.

        input_t = [mask] if t is trained and u_t < rate, else y_t;   u_t ~ U(0, 1), drawn again each step

    Prompts and other untrained tokens are not masked. [mask] is the tokenizer's mask token; without one its embedding
    is the mean of all input embeddings, with which the authors initialise the token that they add. That mean isn't
    trained, and no token is added to the vocabulary.

    Reads    train_N.
    Limits   rate 0 changes nothing; rate 1 leaves only the prompt and the length.
    Fails    a rate too high, or without a warm-up from 0: `nll` stays high.
    Source   Chen et al. 2024 (arXiv 2403.02178), section 3; the warm-up {from = 0.0, to = 0.4, until = 0.66} is that of
             the authors' scripts for GSM8K (max_mask_rate 0.4, mask_rate_warmup 0.66).
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate of corruption 'masked-thought' is {rate}, but it is a probability: set 0 to 1")
    generator = torch.Generator().manual_seed(seed)
    hidden_N = batch.train_N & (torch.rand(batch.N, generator=generator).to(batch.ids_N.device) < rate)
    if mask_id is None and bool(hidden_N.any()):
        return averaged(batch, hidden_N)
    return replace(batch, input_N=torch.where(hidden_N, 0 if mask_id is None else mask_id, batch.input_N))


def averaged(batch: Batch, hidden_N: Tensor) -> Batch:
    """The batch with the mean embedding in place of these tokens."""
    mix_ids_N = batch.input_N if batch.mix_ids_N is None else batch.mix_ids_N
    mix_N = torch.zeros(batch.N, device=hidden_N.device) if batch.mix_N is None else batch.mix_N
    return replace(
        batch,
        # A blend is E[input] + 1 · (mean − E[input]), whose rounding would tell what is hidden; so the input is 0.
        input_N=torch.where(hidden_N, 0, batch.input_N),
        mix_ids_N=torch.where(hidden_N, MEAN_EMBEDDING, mix_ids_N),
        mix_N=torch.where(hidden_N, 1.0, mix_N),
    )
