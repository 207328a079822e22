"""The packed forward pass: the tokens of a prefix tree end to end in one row, without padding and without a mask.

A model supports it if its attention goes through transformers' attention interface, is causal and has no window. Its
config is read for what contradicts that, and the packed pass is compared once with the padded one on a few tokens;
where they differ the model runs in padded rows (`hidden_before`), and the log says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from scalpel.batch import Batch
from scalpel.engine.fp32_probe import trial_of
from scalpel.engine.padded_forward import (
    Mix,
    blended,
    device_of,
    hidden_before,
)
from scalpel.engine.prefix_tree import BUNDLE, PrefixTree, lay_out
from scalpel.engine.tree_attention import TreeAttention

log = logging.getLogger("scalpel")
NAME = "scalpel_layout"  # not among transformers' mask functions, so no mask is made
UNKNOWN = ("softcap", "s_aux", "position_bias")  # arguments that change what attention computes
CLOSE = 1e-3  # of the largest hidden state: by rounding it is some 1e-6, a wrong mask or wrong positions make it 1
present: ContextVar[PrefixTree | None] = ContextVar("layout", default=None)
refused: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()  # why a model can't run packed; "" where it can
outgrown: WeakSet[nn.Module] = WeakSet()  # models whose window was too short for some sequence; logged once


class NotPackable(Exception):
    """An attention that does something which the packed one does not implement."""


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention over the current prefix tree, in transformers' calling convention: [1, H, M, D] → [1, M, H, D]."""
    layout = present.get()
    assert layout is not None and query.shape[2] == layout.M, "packed attention outside of a packed pass"
    if changed := [name for name in UNKNOWN if more.get(name) is not None]:
        raise NotPackable(f"its attention has {' and '.join(changed)}")
    if attention_mask is not None or dropout or more.get("is_causal") is False:
        raise NotPackable("its attention has dropout or a mask of its own")
    if torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    q_MHD, k_MJD, v_MJD = (x[0].transpose(0, 1) for x in (query, key, value))
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    return TreeAttention.apply(q_MHD, k_MJD, v_MJD, layout, scale)[None], None


AttentionInterface.register(NAME, attention)


@contextmanager
def attending(configs: Sequence[Any], layout: PrefixTree) -> Iterator[None]:
    """Within this context attention follows the prefix tree. The configs are restored afterwards."""
    before = [config._attn_implementation_internal for config in configs]
    token = present.set(layout)
    try:
        for config in configs:
            config._attn_implementation_internal = NAME
        yield
    finally:
        for config, was in zip(configs, before, strict=True):
            config._attn_implementation_internal = was
        present.reset(token)


@contextmanager
def recomputing(model: nn.Module, configs: Sequence[Any], layout: PrefixTree) -> Iterator[None]:
    """Checkpointed layers are recomputed in the backward pass, after `attending` has ended, so the function that they
    checkpoint enters it again."""

    def with_layout(checkpoint: Callable[..., Any]) -> Callable[..., Any]:
        def run(layer: Callable[..., Any], *args: Any) -> Any:
            def again(*args: Any) -> Any:
                with attending(configs, layout):
                    return layer(*args)

            return checkpoint(again, *args)

        return run

    layers: list[Any] = [m for m in model.modules() if getattr(m, "gradient_checkpointing", False)]
    before = [layer._gradient_checkpointing_func for layer in layers]
    try:
        for layer, checkpoint in zip(layers, before, strict=True):
            layer._gradient_checkpointing_func = with_layout(checkpoint)
        yield
    finally:
        for layer, checkpoint in zip(layers, before, strict=True):
            layer._gradient_checkpointing_func = checkpoint


def hidden_packed(model: PreTrainedModel, input_N: Tensor, layout: PrefixTree, mix: Mix | None = None) -> Tensor:
    """Hidden states [n, D] from which the requested tokens are predicted.

    Positions are passed explicitly, since a packed row restarts them at each sequence. The attention mask is not: one
    over all M places would be [M, M], and `attending` replaces the attention that would read it.
    """
    base, ids_1M = model.base_model, input_N[layout.token_M][None]
    shown: dict[str, Tensor] = {"input_ids": ids_1M}
    if mix is not None:
        shown = blended(model, ids_1M, (mix[0][layout.token_M][None], mix[1][layout.token_M][None]))
    configs = list({id(m.config): m.config for m in base.modules() if hasattr(m, "config")}.values())
    with attending(configs, layout), recomputing(base, configs, layout):
        out = base(**shown, position_ids=layout.position_M[None], use_cache=False)
    return out.last_hidden_state[0, layout.place_n]


def hidden(
    model: PreTrainedModel, batch: Batch, at_n: Tensor, layout: PrefixTree, pad: int, after: bool = False
) -> Tensor:
    """The same, packed if the model supports it, else in padded rows. ValueError for a batch with content other than
    token ids, such as image patches: ignoring it would silently train on the wrong input."""
    if batch.content_N is not None and bool(batch.content_N.any()):
        raise ValueError(
            f"{int((batch.content_N != 0).sum())} tokens of the batch have content other than their ids (content_N), "
            "which this engine can't embed: leave out everything that isn't text"
        )
    mix = None if batch.mix_ids_N is None or batch.mix_N is None else (batch.mix_ids_N, batch.mix_N)
    if packs(model) and fits(model, layout.longest):
        return hidden_packed(model, batch.input_N, layout, mix)
    return hidden_before(model, batch.input_N, batch.seq_N, at_n, pad, mix, after)


def packs(model: PreTrainedModel) -> bool:
    """Whether the model supports packed sequences. It is tested on the first call; if it fails, the log says why."""
    if model not in refused:
        refused[model] = ""
        if why := obstacle(model):
            refuse(model, why)
    return not refused[model]


def refuse(model: PreTrainedModel, why: str) -> None:
    refused[model] = why
    log.info("%s runs in padded rows, since %s: the results are the same, but slower", type(model).__name__, why)


def shares(model: PreTrainedModel) -> bool:
    """Whether a common prefix may be computed once. With dropout it may not: each sequence needs its own dropout
    mask."""
    dropping = model.training and any(isinstance(m, nn.Dropout) and m.p > 0 for m in model.modules())
    return packs(model) and not dropping


def fits(model: PreTrainedModel, longest: int) -> bool:
    """Whether every token attends to all earlier ones in sequences of that length. If not, it is logged once."""
    if longest > window(model) and model not in outgrown:
        outgrown.add(model)
        log.info(
            "%s runs in padded rows for sequences longer than %d tokens, the attention window of one of its layers",
            type(model).__name__,
            window(model),
        )
    return longest <= window(model)


def window(model: PreTrainedModel) -> float:
    """The longest sequence in which every token still attends to all earlier ones."""
    config = model.config.get_text_config()
    bounds = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return min((bound for bound in bounds if bound is not None), default=inf)


@torch.no_grad()
def obstacle(model: PreTrainedModel) -> str:
    """Why a model doesn't support packed sequences; empty where the comparison with padded rows shows that it does."""
    config = model.config.get_text_config()
    if config.is_encoder_decoder or getattr(config, "attn_logit_softcapping", None) is not None:
        return "its attention has softcap" if not config.is_encoder_decoder else "it is an encoder and a decoder"
    # Two sequences branch after a common prefix, one is only that prefix, and one shares nothing. Laid out without and
    # with bundles, they use every kind of attention: a node on itself, on a node above it, and masked.
    ids_N = torch.tensor([1, 2, 3, 4, 5, 1, 2, 3, 6, 7, 1, 2, 3, 8, 9, 4, 3, 2], device=device_of(model))
    seq_N = torch.tensor([0] * 5 + [1] * 5 + [2] * 3 + [3] * 5, device=ids_N.device)
    at_n = (seq_N.diff(prepend=seq_N[:1] - 1) == 0).nonzero()[:, 0]
    ids_N = ids_N % config.vocab_size
    layouts = [lay_out(ids_N, seq_N, at_n, worth=4, bundle=bundle) for bundle in (0, BUNDLE)]
    training, whole = model.training, model
    model = trial_of(model)
    try:
        with torch.random.fork_rng():
            hidden_packed(model.train(), ids_N, layouts[0])  # raises if attention has dropout, which eval mode hides
        ours_nD = [hidden_packed(model.eval(), ids_N, layout).float() for layout in layouts]
    except (NotPackable, TypeError) as why:
        return str(why)
    except Exception as why:  # without a mask a model may fail in any way, as MPT does: it then runs padded
        return f"it needs an attention mask ({type(why).__name__}: {why})"
    finally:
        whole.train(training)
    plain_nD = hidden_before(model.eval(), ids_N, seq_N, at_n, pad=1).float()
    whole.train(training)
    off = max(float((x_nD - plain_nD).abs().max() / plain_nD.abs().max()) for x_nD in ours_nD)
    return "" if off <= CLOSE else f"packed it differs by {off:.1%}"
