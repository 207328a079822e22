"""Saving of a reward model as a sequence classifier that transformers can open, with a check of what was saved.

`<Architecture>ForSequenceClassification` applies its linear `score` to the last token that isn't the padding token. So
a text must never end with the padding token, which it does if the tokenizer pads with its end-of-sequence token.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from scalpel.data.closed import last_ids
from scalpel.data.tokenizer import Tokens
from scalpel.models.owned import Owned

log = logging.getLogger("scalpel")
HEAD = "score.weight"  # its name in every sequence classifier that reads the last token
CLOSE = 1e-3  # tolerance relative to the largest score, in float32


def refuse_unclassifiable(model: PreTrainedModel) -> None:
    """Raises ValueError unless transformers has a sequence classifier of the architecture that scores the last token
    with a linear layer without bias."""
    made = bare(model)
    missing = sorted(made.state_dict().keys() - model.state_dict().keys() - {HEAD}) if made else []
    score = getattr(made, "score", None)
    if not isinstance(score, nn.Linear) or score.bias is not None or missing:
        name = type(model).__name__
        why = f"has none for {name}" if made is None else f"has one for {name} with another head"
        raise ValueError(
            f"a reward model is saved as a sequence classifier, but transformers {why}: use a model of another "
            "architecture, such as Llama, Qwen, Mistral, Gemma or GPT-2"
        )


def bare(model: PreTrainedModel, pad: int | None = None) -> PreTrainedModel | None:
    """The sequence classifier of the model's architecture, on the meta device; None if there is none."""
    known: Mapping[Any, Any] = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    kind = known.get(type(model.config), None)
    if kind is None:
        return None
    config = deepcopy(model.config)
    config.num_labels = 1
    config.architectures = [kind.__name__]
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        part.pad_token_id = pad
    with torch.device("meta"):
        return kind(config)


def classifier(model: PreTrainedModel, score_1D: Tensor, pad: int) -> PreTrainedModel:
    """The model with the score in place of its head. It shares the model's weights, so it takes no memory."""
    made = bare(model, pad)
    assert made is not None
    weights = model.state_dict() | {HEAD: score_1D.detach().to(model.dtype)}
    made.load_state_dict({name: weights[name] for name in made.state_dict()}, assign=True)
    return made.eval()


def kept_beside(model: PreTrainedModel, made: PreTrainedModel) -> dict[str, Tensor]:
    """The tensors of the language model that the classifier lacks: its head, unless that is tied to the embedding."""
    there = {x.data_ptr() for x in made.state_dict().values()}
    mine = model.state_dict()
    return {
        name: mine[name]
        for name in sorted(mine.keys() - made.state_dict().keys())
        if mine[name].data_ptr() not in there
    }


def padded_by(tokens: Tokens) -> PreTrainedTokenizerBase:
    """A copy of the tokenizer that pads on the right, so that positions don't change, with a padding token that can't
    be the last token of a text. Raises ValueError if the tokenizer has no such special token."""
    made, ends = deepcopy(tokens.tokenizer), last_ids(tokens)
    given = [made.pad_token_id, made.unk_token_id, made.bos_token_id, *made.all_special_ids]
    free = [i for i in given if i is not None and i not in ends]
    if not free:
        raise ValueError(
            "a reward model needs a padding token that no text ends with, and every special token of this tokenizer "
            "may end a text: add a pad_token to its tokenizer_config.json"
        )
    made.padding_side = "right"
    if free[0] != made.pad_token_id:
        before, made.pad_token = made.pad_token, made.convert_ids_to_tokens(free[0])
        log.info("the reward model's padding token is %r, since texts may end with %r", made.pad_token, before)
    return made


def write_classifier(model: PreTrainedModel, tokens: Tokens, owned: Owned, folder: Path) -> Owned:
    """Writes the classifier with its tokenizer, reads it back and compares weights and scores. The result also holds
    the tensors of the language model that must be saved beside the classifier."""
    tokenizer = padded_by(tokens)
    score = owned.modules[owned.scores]
    made = classifier(model, score.get_parameter("weight"), int(tokenizer.pad_token_id))
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(folder)
    verify_classifier(model, made, tokens, folder)
    kept = kept_beside(model, made)
    words = "the reward model is saved as %s, a sequence classifier with one label; the language model's head is %s"
    log.info(words, type(made).__name__, "in owned.safetensors" if kept else "tied to the embedding")
    return replace(owned, kept=kept)


@torch.no_grad()
def verify_classifier(model: PreTrainedModel, made: PreTrainedModel, tokens: Tokens, folder: Path) -> None:
    """Raises RuntimeError unless the folder opens as that classifier, with equal weights and with the scores that the
    trained head gives. The texts are scored in one padded batch, since a wrong padding token shows only there."""
    again = AutoModelForSequenceClassification.from_pretrained(folder, dtype=model.dtype).eval()
    mine, theirs = made.state_dict(), again.state_dict()
    wrong = [k for k in mine if k not in theirs or not torch.equal(mine[k].cpu(), theirs[k])]
    if wrong:
        raise RuntimeError(f"{folder} does not hold the reward model that was saved: {wrong[0]} differs")
    rows = [tokens.encode(text) + [tokens.end_id] for text in ("1 + 2 = 3", "Aa.")]
    pad, longest = int(again.config.get_text_config().pad_token_id), max(map(len, rows))
    ids_SL = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    mask_SL = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    theirs_S = again(ids_SL, attention_mask=mask_SL).logits[:, 0].float()
    head_1D, device = mine[HEAD].float(), model.device
    states = [model.base_model(torch.tensor([row], device=device), use_cache=False).last_hidden_state for row in rows]
    mine_S = torch.cat([(h_1LD[0, -1:].float() @ head_1D.T)[:, 0] for h_1LD in states]).cpu()
    apart = float((mine_S - theirs_S).abs().max() / mine_S.abs().max().clamp(min=1.0))
    if model.dtype == torch.float32 and not apart <= CLOSE:
        raise RuntimeError(
            f"the scores of the sequence classifier in {folder} differ from those of the trained model by {apart:.2g}"
        )
