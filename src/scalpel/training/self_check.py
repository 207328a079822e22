"""Compares the first batch's log-probs with those of transformers' own eager forward pass, so that an architecture that
is computed wrongly is found before it is trained. It uses no random numbers and changes no state of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel

from scalpel.batch import Batch
from scalpel.engine import Engine

SEQUENCES, TOKENS = 2, 512  # maximal number of compared sequences, and their maximal length
LARGE = 4_000_000_000  # parameters from which a second forward pass on a CPU takes too long
CLOSE = 1e-2  # nats, in float32; rounding is some 1e-6, a wrong mask or position makes it 0.1 or more


def check(engine: Engine, batch: Batch) -> str:
    """A sentence with the largest difference. Raises ValueError if it exceeds rounding, in float32 only: in lower
    precision the two passes may differ by more."""
    size = sum(p.numel() for p in engine.model.parameters())
    if engine.device.type == "cpu" and size > LARGE:
        return f"self-check skipped: a second pass over {size / 1e9:.1f} billion parameters takes too long on a CPU"
    if batch.mix_N is not None:
        return "self-check skipped: the batch has blended input embeddings, which transformers' forward pass can't take"
    index_s = chosen(batch)
    if not len(index_s):
        return f"self-check skipped: no sequence with trained tokens has at most {TOKENS} tokens"
    part = replace(batch.pick(index_s), temperature_N=None)  # the other pass has none
    ours_N, theirs_N = engine.score(part).logp_N.cpu().float(), eager(engine, part)
    train_N = part.train_N.cpu()
    apart = float((ours_N - theirs_N)[train_N].abs().max())
    plain = engine.precision == "float32" and engine.model.dtype == torch.float32
    words = (
        f"self-check: the log-probs of {int(train_N.sum())} trained tokens in {len(index_s)} sequences differ by at "
        f"most {apart:.2g} from transformers' own eager pass"
    )
    if not plain:
        return f"{words} in {str(engine.model.dtype).removeprefix('torch.')} (arithmetic here: {engine.precision})"
    if not apart <= CLOSE:
        raise ValueError(
            f"{words}, which is more than rounding ({CLOSE:g}): this architecture is computed wrongly by scalpel or by "
            "the installed transformers, so it is not trained; use another version of transformers or another model"
        )
    return f"{words} in float32"


def chosen(batch: Batch) -> torch.Tensor:
    """The first sequences that are short enough and have a trained token."""
    length_S = torch.bincount(batch.seq_N.cpu(), minlength=batch.S)
    trained_S = torch.bincount(batch.seq_N.cpu()[batch.train_N.cpu()], minlength=batch.S)
    return ((length_S <= TOKENS) & (trained_S > 0)).nonzero()[:SEQUENCES, 0]


@torch.no_grad()
def eager(engine: Engine, batch: Batch) -> torch.Tensor:
    """The log-prob of every token but the first, sequence by sequence, by the model's own forward pass."""
    found = torch.zeros(batch.N)
    with engine.without_dropout(), eagerly(engine.model):
        for s in range(batch.S):
            at_N = (batch.seq_N.cpu() == s).nonzero()[:, 0]
            shown, ids = batch.input_N.cpu()[at_N], batch.ids_N.cpu()[at_N]
            out = engine.model(shown[None].to(engine.device), use_cache=False)
            logp_LV = out.logits[0].float().log_softmax(-1).cpu()
            found[at_N[1:]] = logp_LV[:-1].gather(1, ids[1:, None])[:, 0]
    return found


@contextmanager
def eagerly(model: PreTrainedModel) -> Iterator[None]:
    """Switches the model to eager attention within the block."""
    configs: list[Any] = list({id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values())
    before = [getattr(config, "_attn_implementation_internal", None) for config in configs]
    try:
        for config in configs:
            config._attn_implementation_internal = "eager"
        yield
    finally:
        for config, was in zip(configs, before, strict=True):
            config._attn_implementation_internal = was
