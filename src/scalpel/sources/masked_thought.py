"""Random masking of answer tokens in the input."""

from dataclasses import replace

import torch

from scalpel.batch import Batch
from scalpel.binding.bounds import Share
from scalpel.part import part


@part("corruption", "masked-thought")
def masked_thought(batch: Batch, *, mask_id: int, seed: int, rate: Share = 0.4) -> Batch:
    """Masks each token of the answer in the input with probability `rate`; all of them stay targets.

        input_t = [mask] if t is trained and u_t < rate, else y_t;   u_t ~ U(0, 1), drawn again each step

    Prompts and other untrained tokens are not masked.

    Reads    train_N.
    Limits   rate 0 changes nothing; rate 1 leaves only the prompt and the length.
    Fails    a rate too high, or without a warm-up from 0: `nll` stays high. Without a mask token in the tokenizer the
             padding token is used, whose embedding was never trained.
    Source   Chen et al. 2024 (arXiv 2403.02178), section 3.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate of corruption 'masked-thought' is {rate}, but it is a probability: set 0 to 1")
    generator = torch.Generator().manual_seed(seed)
    hidden_N = torch.rand(batch.N, generator=generator).to(batch.ids_N.device) < rate
    return replace(batch, input_N=torch.where(batch.train_N & hidden_N, mask_id, batch.input_N))
