"""Models made for a bench: one that never stops, one whose completions have the lengths that they are told, and
random ones of a given size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from scalpel import models

LOUD = 24.0  # logit of the forced token, in standard deviations of the others'


def endless(path: str, at: Path) -> Path:
    """A copy of a model that stops at a token which it never draws, and has no chat template: every completion is as
    long as it may be, on both sides. That token is a special one from the end of its list."""
    model, tokens = models.load(path)
    tokenizer = tokens.tokenizer
    never = max(tokenizer.all_special_ids + list(tokenizer.added_tokens_decoder), key=lambda i: unlikely(model, i))
    return saved(model, tokenizer, never, at)


@torch.no_grad()
def unlikely(model: PreTrainedModel, token: int) -> float:
    """Minus the token's log-prob, averaged over a few contexts."""
    ids = torch.arange(64)[None] * 7 % model.config.vocab_size
    return -float(model(ids.to(model.device)).logits.float().log_softmax(-1)[0, :, token].mean())


def saved(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stop: int, at: Path) -> Path:
    tokenizer.chat_template = None
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(stop)
    model.config.eos_token_id = stop
    assert model.generation_config is not None
    model.generation_config.eos_token_id = stop
    model.save_pretrained(at)
    tokenizer.save_pretrained(at)
    return at


@torch.no_grad()
def counting(path: str, at: Path) -> Path:
    """A model of the same shape that counts down: after token k it says k − 1, and it stops at token `stop`. So the
    last token of a prompt says how long its completion will be, whatever the sampler and the precision.

    The layers hardly write into the residual stream, so the last hidden state is the token's embedding; row k − 1 of
    an untied head is that embedding, loud enough that nothing else is ever drawn.
    """
    tokens = models.load(path)[1]
    config = AutoConfig.from_pretrained(models.locate(path))
    config.tie_word_embeddings = False
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weight.mul_(1e-3)
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    embedding.normal_()
    head.copy_(embedding.roll(-1, 0) * LOUD / config.hidden_size**0.5)
    return saved(model, tokens.tokenizer, base_of(tokens.tokenizer), at)


def base_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """The stop token of a counting model: the first id above all special ones."""
    return max([*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder]) + 1


def random(path: str, at: Path, **changes: Any) -> Path:
    """A random model with a shipped model's tokenizer and kind, in another size."""
    source = models.locate(path)
    config = AutoConfig.from_pretrained(source)
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(at)
    models.load(path)[1].tokenizer.save_pretrained(at)
    return at
