"""Checks of loaded weights: they come from the files, and the files are complete.

transformers only warns if a tensor is missing, and leaves its random initial value: a model that looks fine and isn't.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger("scalpel")
BUFFERS = re.compile(r"(?:inv_freq|masked_bias|attn\.bias|attention\.bias|rotary_emb\.(?:cos|sin)_cached)$")


SENSES = re.compile(r"vision|visual|audio|image|multi_modal|multimodal|mm_projector", re.IGNORECASE)


def check_loaded(model: PreTrainedModel, info: Mapping[str, Any], spec: str, text_only: bool = False) -> None:
    """Raises ValueError unless every weight came from the files, and every tensor of the files was used. With
    `text_only` the tensors of vision and audio may be unused."""
    wrong = [f"{name} is {shape(has)} in the file, {shape(wants)} in the model" for name, has, wants in sorted(
        (str(name), has, wants) for name, has, wants in info["mismatched_keys"])]  # fmt: skip
    if wrong:
        raise ValueError(
            f"{spec}: the shapes of {len(wrong)} tensors don't match config.json: {some(wrong)}; config and weights "
            "are from different models"
        )
    if info.get("error_msgs"):
        raise ValueError(f"{spec}: the weights can't be loaded into the model: {some(info['error_msgs'])}")
    missing = sorted(map(str, info["missing_keys"]))
    if missing:
        head = " (a head that shares the embedding's weight wants tie_word_embeddings = true in config.json)"
        raise ValueError(
            f"{spec}: {len(missing)} tensors of the model are missing in its files: {some(missing)}; they would be "
            "initialised at random, so the model is not loaded: save or download it completely"
            f"{head if 'head' in missing[0] else ''}"
        )
    odd = sorted(name for name in map(str, info["unexpected_keys"]) if not BUFFERS.search(name))
    odd = [name for name in odd if not (text_only and SENSES.search(name))]
    if odd:
        raise ValueError(
            f"{spec}: {len(odd)} tensors in the files belong to no module of {type(model).__name__}: {some(odd)}; they "
            "would be dropped, so the model is not loaded: check that config.json belongs to these weights"
        )


def say_left_out(model: PreTrainedModel, names: Iterable[str], spec: str) -> None:
    """Logs the tensors of the files that the model's class ignores by design, such as heads for multi-token
    prediction."""
    patterns = [re.compile(p) for p in getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()]
    odd = sorted(n for n in names if any(p.search(n) for p in patterns) and not BUFFERS.search(n))
    if not odd:
        return
    own = {part for key in model.state_dict() for part in (key, key.partition(".")[2])}
    if left := [name for name in odd if name not in own]:
        log.info(
            "%s: %d tensors of its files are not used by %s, so the saved model will lack them: %s",
            spec, len(left), type(model).__name__, some(left),
        )  # fmt: skip


def check_tied(model: PreTrainedModel, spec: str) -> None:
    """Raises ValueError if the config ties embedding and head, but the files hold two different matrices."""
    ends = [getattr(end, "weight", None) for end in (model.get_output_embeddings(), model.get_input_embeddings())]
    if not getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        return
    if any(end is None for end in ends) or ends[0].data_ptr() == ends[1].data_ptr():  # type: ignore[union-attr]
        return
    raise ValueError(
        f"{spec}: config.json ties embedding and head (tie_word_embeddings), but the files hold two different "
        "matrices: set tie_word_embeddings to false to keep both, or remove the head's from the files"
    )


@torch.no_grad()
def check_finite(model: PreTrainedModel, spec: str) -> None:
    """Raises ValueError for weights that are NaN or infinite, with the tensors and the number of such entries."""
    bad = []
    for name, p in model.named_parameters():
        if p.is_floating_point() and not torch.isfinite(p.sum(dtype=torch.float32)):
            count = int((~torch.isfinite(p)).sum())
            bad += [f"{name} ({count} of {p.numel()})"] if count else []  # the sum may overflow
    if bad:
        raise ValueError(
            f"{spec}: {len(bad)} tensors have NaN or infinite weights: {some(bad)}; the training that wrote them "
            "diverged: use an earlier checkpoint"
        )


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, spec: str) -> None:
    """Raises ValueError if the tokenizer has ids for which the model has no embedding."""
    rows = model.get_input_embeddings().get_parameter("weight").shape[0]
    beyond = sorted((i, token) for token, i in tokenizer.get_vocab().items() if i >= rows)
    if beyond:
        names = some([repr(token) for _, token in beyond])
        raise ValueError(
            f"{spec}: the tokenizer has ids up to {beyond[-1][0]}, but the model has {rows} embeddings, so "
            f"{len(beyond)} tokens have none ({names}): replace the tokenizer by that of the base model, or add "
            "embeddings with model.resize_token_embeddings(len(tokenizer)) and save both"
        )


def shape(size: Sequence[int]) -> str:
    return "×".join(map(str, size)) or "a number"


def some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
