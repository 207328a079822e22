"""Two models as engines, and the point halfway between them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch

from scalpel import models
from scalpel.device import choose_device, choose_dtype, choose_precision
from scalpel.engine import Engine
from scalpel.pair import interpolate
from scalpel.pair.pair import Source


def opened(base: str | Path, tuned: str | Path, device: str, dtype: str) -> tuple[Engine, Engine, Engine]:
    """Engines of the base, of the tuned model, and of the weights halfway between."""
    at = choose_device(device)
    before, tokens = models.load(base, device=at, dtype=choose_dtype(dtype, at))
    after, tokens_after = models.load(tuned, device=at, dtype=choose_dtype(dtype, at))
    if tokens.tokenizer.get_vocab() != tokens_after.tokenizer.get_vocab():
        raise ValueError(f"{base} and {tuned} have different vocabularies, so one can't have been made from the other")
    between = deepcopy(before)
    with torch.no_grad():
        between.load_state_dict(interpolate(before.state_dict(), after.state_dict(), 0.5))
    precision = choose_precision("auto", before, at)
    # the tuned model's: with them is saved the chat template that it was trained with
    return tuple(Engine(model, tokens_after, precision=precision) for model in (before, after, between))  # type: ignore[return-value]


def sides(base: str | Path, tuned: str | Path) -> tuple[Source, Source]:
    """Two models to be compared: folders, read tensor by tensor; or the weights of both, where one of them is an
    adapter, is quantised, or is known by name alone."""
    found = [models.locate(spec) for spec in (base, tuned)]
    if all(isinstance(place, Path) and models.is_plain_folder(place) for place in found):
        return found[0], found[1]
    return models.load(base)[0].state_dict(), models.load(tuned)[0].state_dict()
