"""A model whose head is a reward model's, as the sequence classifier that transformers opens, and back.

`<Architecture>ForSequenceClassification` reads its linear `score` at the last token that is no padding. So the padding
token must be none with which a text may end, as it is where a tokenizer pads with its end token.
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
HEAD = "score.weight"  # of every sequence classifier that reads the last token
CLOSE = 1e-3  # of the largest score, in float32


def refuse_unclassifiable(model: PreTrainedModel) -> None:
    """Raises ValueError unless transformers has a classifier of sequences by their last token for the architecture."""
    made = bare(model)
    missing = sorted(made.state_dict().keys() - model.state_dict().keys() - {HEAD}) if made else []
    score = getattr(made, "score", None)
    if not isinstance(score, nn.Linear) or score.bias is not None or missing:
        why = "has no sequence classifier" if made is None else f"has {type(made).__name__}, which is built otherwise,"
        raise ValueError(
            f"a reward model is saved as a sequence classifier, but transformers {why} for {type(model).__name__}: "
            "take a model of another architecture, such as Llama, Qwen, Mistral, Gemma or GPT-2"
        )


def bare(model: PreTrainedModel, pad: int | None = None) -> PreTrainedModel | None:
    """The classifier of the model's architecture, without weights."""
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
    """The model with a score in place of its head; it shares the model's weights."""
    made = bare(model, pad)
    assert made is not None
    weights = model.state_dict() | {HEAD: score_1D.detach().to(model.dtype)}
    made.load_state_dict({name: weights[name] for name in made.state_dict()}, assign=True)
    return made.eval()


def kept_beside(model: PreTrainedModel, made: PreTrainedModel) -> dict[str, Tensor]:
    """The language model's tensors that the classifier lacks: its head, where that is none of the others."""
    there = {x.data_ptr() for x in made.state_dict().values()}
    mine = model.state_dict()
    return {
        name: mine[name]
        for name in sorted(mine.keys() - made.state_dict().keys())
        if mine[name].data_ptr() not in there
    }


def padded_by(tokens: Tokens) -> PreTrainedTokenizerBase:
    """A copy of the tokenizer that pads on the right, where no position is moved, and with another token where its own
    may be the last of a text. Raises ValueError where it has no special token to pad with."""
    made, ends = deepcopy(tokens.tokenizer), last_ids(tokens)
    given = [made.pad_token_id, made.unk_token_id, made.bos_token_id, *made.all_special_ids]
    free = [i for i in given if i is not None and i not in ends]
    if not free:
        raise ValueError(
            "a reward model's tokenizer needs a padding token with which no text ends, and all special tokens of this "
            "one may end a text: add one, as pad_token in its tokenizer_config.json"
        )
    made.padding_side = "right"
    if free[0] != made.pad_token_id:
        before, made.pad_token = made.pad_token, made.convert_ids_to_tokens(free[0])
        log.info("the reward model pads with %r, since its texts may end with %r", made.pad_token, before)
    return made


def write_classifier(model: PreTrainedModel, tokens: Tokens, owned: Owned, folder: Path) -> Owned:
    """Writes the classifier with its tokenizer, and reads it back: same weights, same scores. What is returned has in
    it the tensors of the language model that are to be kept beside it."""
    tokenizer = padded_by(tokens)
    score = owned.modules[owned.scores]
    made = classifier(model, score.get_parameter("weight"), int(tokenizer.pad_token_id))
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(folder)
    verify_classifier(model, made, tokens, folder)
    kept = kept_beside(model, made)
    words = "the model is saved as a sequence classifier with one label, %s; the language model's head %s"
    log.info(words, type(made).__name__, "is in owned.safetensors" if kept else "is its embedding")
    return replace(owned, kept=kept)


@torch.no_grad()
def verify_classifier(model: PreTrainedModel, made: PreTrainedModel, tokens: Tokens, folder: Path) -> None:
    """Raises RuntimeError unless the folder opens as that classifier, with the scores of head and hidden states."""
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
            f"{folder} opens as a sequence classifier whose scores differ by {apart:.2g} from the trained ones"
        )
