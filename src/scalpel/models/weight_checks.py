"""Checks that the loaded weights are those of the files, and that the files are complete: no weight keeps its random
initial value."""

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
    """Raises ValueError unless every weight came from the files, and every tensor of the files went into one;
    `text_only`: but those of what sees and hears."""
    wrong = [f"{name} is {shape(has)} in the file, {shape(wants)} in the model" for name, has, wants in sorted(
        (str(name), has, wants) for name, has, wants in info["mismatched_keys"])]  # fmt: skip
    if wrong:
        raise ValueError(
            f"{spec}: {len(wrong)} tensors have another shape than config.json says: {some(wrong)}; config and weights "
            "are of two models"
        )
    if info.get("error_msgs"):
        raise ValueError(f"{spec}: the weights can't be put into the model: {some(info['error_msgs'])}")
    missing = sorted(map(str, info["missing_keys"]))
    if missing:
        head = " (a head that shares the embedding's weight wants tie_word_embeddings = true in config.json)"
        raise ValueError(
            f"{spec}: {len(missing)} tensors of the model are in no file: {some(missing)}; they would be drawn at "
            f"random, so the model is not opened: save or download it whole{head if 'head' in missing[0] else ''}"
        )
    odd = sorted(name for name in map(str, info["unexpected_keys"]) if not BUFFERS.search(name))
    odd = [name for name in odd if not (text_only and SENSES.search(name))]
    if odd:
        raise ValueError(
            f"{spec}: {len(odd)} tensors in the files belong to no part of this {type(model).__name__}: {some(odd)}; "
            "they would be dropped, so the model is not opened: does config.json belong to these weights?"
        )


def say_left_out(model: PreTrainedModel, names: Iterable[str], spec: str) -> None:
    """Says which tensors of the files this class leaves out by itself, such as heads that predict several tokens."""
    patterns = [re.compile(p) for p in getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()]
    odd = sorted(n for n in names if any(p.search(n) for p in patterns) and not BUFFERS.search(n))
    if not odd:
        return
    own = {part for key in model.state_dict() for part in (key, key.partition(".")[2])}
    if left := [name for name in odd if name not in own]:
        log.info(
            "%s: %d tensors of its files have no part in %s, so what is saved lacks them: %s",
            spec, len(left), type(model).__name__, some(left),
        )  # fmt: skip


def check_tied(model: PreTrainedModel, spec: str) -> None:
    """Raises ValueError where the config says that embedding and head are one, and the files hold two."""
    ends = [getattr(end, "weight", None) for end in (model.get_output_embeddings(), model.get_input_embeddings())]
    if not getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        return
    if any(end is None for end in ends) or ends[0].data_ptr() == ends[1].data_ptr():  # type: ignore[union-attr]
        return
    raise ValueError(
        f"{spec}: config.json says that embedding and head share one matrix (tie_word_embeddings), but the files hold "
        "two that differ: set tie_word_embeddings to false there to keep both, or remove the head's from the files"
    )


@torch.no_grad()
def check_finite(model: PreTrainedModel, spec: str) -> None:
    """Raises ValueError for weights that are NaN or infinite, with the tensors and how many entries they have."""
    bad = []
    for name, p in model.named_parameters():
        if p.is_floating_point() and not torch.isfinite(p.sum(dtype=torch.float32)):
            count = int((~torch.isfinite(p)).sum())
            bad += [f"{name} ({count} of {p.numel()})"] if count else []  # a sum may be too large by itself
    if bad:
        raise ValueError(
            f"{spec}: {len(bad)} tensors hold NaN or infinite weights: {some(bad)}; whatever wrote them broke down, so "
            "take an earlier checkpoint"
        )


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, spec: str) -> None:
    """Raises ValueError if the tokenizer knows ids for which the model has no embedding."""
    rows = model.get_input_embeddings().get_parameter("weight").shape[0]
    beyond = sorted((i, token) for token, i in tokenizer.get_vocab().items() if i >= rows)
    if beyond:
        names = some([repr(token) for _, token in beyond])
        raise ValueError(
            f"{spec}: the tokenizer knows ids up to {beyond[-1][0]}, but the model has {rows} embeddings, so "
            f"{len(beyond)} tokens have none ({names}): put the tokenizer of the model's base in its place, or give "
            "them rows with model.resize_token_embeddings(len(tokenizer)) and save both"
        )


def shape(size: Sequence[int]) -> str:
    return "×".join(map(str, size)) or "a number"


def some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
