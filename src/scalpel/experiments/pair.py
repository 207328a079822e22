"""Two models as engines, and the point halfway between them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from scalpel import models
from scalpel.config.schema import MeasureSpec
from scalpel.device import choose_device, choose_dtype, choose_precision
from scalpel.engine import Engine
from scalpel.evaluation import Ledger, Probe, measure, run_probes
from scalpel.evaluation.run import ProbeResults
from scalpel.pair import interpolate
from scalpel.pair.pair import Source
from scalpel.runs.progress import Progress


def opened(base: str | Path, tuned: str | Path, device: str, dtype: str) -> tuple[Engine, Engine, Engine]:
    """Engines of the base, of the tuned model, and of the weights halfway between."""
    at = choose_device(device)
    before, tokens = models.load(base, device=at, dtype=choose_dtype(dtype, at))
    after, tokens_after = models.load(tuned, device=at, dtype=choose_dtype(dtype, at))
    if tokens.tokenizer.get_vocab() != tokens_after.tokenizer.get_vocab():
        raise ValueError(f"{base} and {tuned} have different vocabularies, so one can't have been made from the other")
    precision = choose_precision("auto", before, at)
    # the tuned model's tokenizer: with it is saved the chat template that the model was trained with
    engines = [Engine(model, tokens_after, precision=precision) for model in (before, after)]
    return engines[0], engines[1], halfway(*engines)


def halfway(base: Engine, tuned: Engine) -> Engine:
    """The weights in the middle of the straight line from the base to the tuned model."""
    model = deepcopy(base.model)
    with torch.no_grad():
        model.load_state_dict(interpolate(base.model.state_dict(), tuned.model.state_dict(), 0.5))
    return Engine(model, tuned.tokens, precision=tuned.precision)


def ledgers(
    spec: MeasureSpec,
    probes: Sequence[Probe],
    engines: tuple[Engine, Engine, Engine],
    before: ProbeResults,
    seed: int,
    shown: Progress,
) -> list[Ledger]:
    """Every probe's ledger; the lost items are tested at the weights halfway back to the base, too. `engines` are those
    of the base, of the tuned model, and of the weights halfway; `before` is what the probes saw of the base."""
    options: dict[str, Any] = {"k": spec.recovery_samples, "max_items": spec.recovery_items, "seed": seed}
    found = []
    for probe in shown.each(probes, "measuring", len(probes), "probes"):
        found += measure([probe], *engines, before=before, **options)
    return found


def probe_base(probes: Sequence[Probe], base: Engine, shown: Progress) -> ProbeResults:
    """What each probe sees of the base."""
    seen: ProbeResults = {}
    for probe in shown.each(probes, "looking at the base", len(probes), "probes"):
        seen |= run_probes([probe], base, base)
    return seen


def sides(base: str | Path, tuned: str | Path) -> tuple[Source, Source]:
    """Two models to be compared: folders, read tensor by tensor; or the weights of both, where one of them is an
    adapter, is quantised, or is known by name alone."""
    found = [models.locate(spec) for spec in (base, tuned)]
    if all(isinstance(place, Path) and models.is_plain_folder(place) for place in found):
        return found[0], found[1]
    return models.load(base)[0].state_dict(), models.load(tuned)[0].state_dict()
