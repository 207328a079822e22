"""A base and a tuned model as engines, with the weights halfway between them."""

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


def load_pair(base: str | Path, tuned: str | Path, device: str, dtype: str) -> tuple[Engine, Engine, Engine]:
    """Engines of the base, of the tuned model, and of the weights halfway between. Raises ValueError if the two have
    different vocabularies."""
    at = choose_device(device)
    before, tokens = models.load(base, device=at, dtype=choose_dtype(dtype, at))
    after, tokens_after = models.load(tuned, device=at, dtype=choose_dtype(dtype, at))
    if tokens.tokenizer.get_vocab() != tokens_after.tokenizer.get_vocab():
        raise ValueError(f"{base} and {tuned} have different vocabularies, so one can't have been made from the other")
    precision = choose_precision("auto", before, at)
    # the tuned model's tokenizer for both: the chat template that the model was trained with is saved with it
    engines = [Engine(model, tokens_after, precision=precision) for model in (before, after)]
    return engines[0], engines[1], halfway(*engines)


def halfway(base: Engine, tuned: Engine) -> Engine:
    """An engine with the weights ½ (base + tuned)."""
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
    progress: Progress,
) -> list[Ledger]:
    """One ledger per probe, with recovery tests. `engines` are those of the base, of the tuned model, and of the
    weights halfway between; `before` holds the probes' results on the base."""
    options: dict[str, Any] = {"k": spec.recovery_samples, "max_items": spec.recovery_items, "seed": seed}
    found = []
    for probe in progress.each(probes, "measuring", len(probes), "probes"):
        found += measure([probe], *engines, before=before, **options)
    return found


def probe_base(probes: Sequence[Probe], base: Engine, progress: Progress) -> ProbeResults:
    """The results of each probe on the base."""
    seen: ProbeResults = {}
    for probe in progress.each(probes, "evaluating the base", len(probes), "probes"):
        seen |= run_probes([probe], base, base)
    return seen


def weights_of_pair(base: str | Path, tuned: str | Path) -> tuple[Source, Source]:
    """The weights of two models to be compared: folders, which are read tensor by tensor and need little memory; or the
    loaded weights of both, if one of them is an adapter, is quantised, or has only a name."""
    found = [models.locate(spec) for spec in (base, tuned)]
    if all(isinstance(place, Path) and models.is_plain_folder(place) for place in found):
        return found[0], found[1]
    return models.load(base)[0].state_dict(), models.load(tuned)[0].state_dict()
