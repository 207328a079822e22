"""The head over the tokens that are asked for: from hidden states to numbers per token, a chunk at a time. Logits over
the vocabulary never exist for all tokens at once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from scalpel.engine.fused_head import Asked, FusedHead
from scalpel.engine.head_outputs import Block, differentiable
from scalpel.engine.head_sizes import DEFAULT, HeadSizes
from scalpel.engine.lm_head import (
    Finish,
    LMHead,
    finish_of,
    readout_of,
    wrapped,
)
from scalpel.engine.padded_forward import device_of
from scalpel.part import HeadTerm, Need, OwnedHead

log = logging.getLogger("scalpel")
HIDDEN: Need = "hidden"  # the hidden states themselves: for embeddings, and for head terms of another model
Others = Mapping[str, tuple[PreTrainedModel, Tensor]]  # models beside, by role, with their hidden states [n, D]


def logits_of(model: PreTrainedModel, hidden_CD: Tensor) -> Tensor:
    """Logits [C, V] in float32: the head, then the scaling and soft-capping of the architecture."""
    return finish_of(model.config).logits(model.get_output_embeddings()(hidden_CD))


@torch.no_grad()
def head_agrees(model: PreTrainedModel, tolerance: float = 1e-3) -> bool:
    """Whether `logits_of` gives what the model's own forward pass gives, on a few tokens."""
    ids_SL = torch.arange(1, 7, device=device_of(model)).unsqueeze(0) % model.config.get_text_config().vocab_size
    training, _ = model.training, model.eval()
    own_CV = model(ids_SL, use_cache=False).logits[0].float()
    ours_CV = logits_of(model, model.base_model(ids_SL, use_cache=False).last_hidden_state[0])
    model.train(training)
    return own_CV.shape == ours_CV.shape and bool((own_CV - ours_CV).abs().max() <= tolerance)


def head(
    model: PreTrainedModel,
    hidden_nD: Tensor,
    target_n: Tensor,
    needs: frozenset[Need],
    others: Others,
    slope_n: Tensor | None = None,
    temperature_n: Tensor | None = None,
    sizes: HeadSizes = DEFAULT,
) -> dict[Need, Tensor]:
    """The numbers that `needs` names, for n tokens. `slope_n` is ∂L/∂log p where the caller knows it: if the backward
    pass brings the same, a matrix product is saved; if not, the gradients are computed anew and nothing changes.
    `temperature_n` divides the logits of which log-probs and entropies are taken."""
    named = of_the_head(needs)
    if (why := reason(model, named, others)) is None:
        return fused(model, hidden_nD, target_n, named, others, slope_n, temperature_n, sizes)
    say(why)
    return plain(model, hidden_nD, target_n, named, others, temperature_n, sizes)


def of_the_head(needs: Iterable[Need]) -> tuple[Need, ...]:
    """What is read from logits; the rest is read from hidden states."""
    return tuple(need for need in needs if need not in ("value", HIDDEN) and not isinstance(need, OwnedHead))


def reason(model: PreTrainedModel, named: tuple[Need, ...], others: Others) -> str | None:
    """Why the head must go through autograd, in words; None where the fused head does."""
    for role, other in {"policy": model, **{role: other for role, (other, _) in others.items()}}.items():
        if (how := wrapped(other)) is not None:
            return f"the head of the {role} model {how}"
    for need in named:
        if torch.is_grad_enabled() and not differentiable(need):
            return f"head term {need.name!r} has no slope registered" if isinstance(need, HeadTerm) else need
    return None


@cache
def say(why: str) -> None:
    log.info("%s, so the fused head can't be used: logits go through autograd, which is slower", why)


def fused(
    model: PreTrainedModel,
    hidden_nD: Tensor,
    target_n: Tensor,
    named: tuple[Need, ...],
    others: Others,
    slope_n: Tensor | None,
    temperature_n: Tensor | None = None,
    sizes: HeadSizes = DEFAULT,
) -> dict[Need, Tensor]:
    """By the fused head, without an autograd graph over the vocabulary."""
    readout = readout_of(model)
    trainables = (hidden_nD, readout.weight_VD, readout.bias_V)
    moves = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in trainables)
    asked = asked_of(readout, target_n, named, others, moves, slope_n, temperature_n, sizes)
    with torch.autocast(hidden_nD.device.type, enabled=False):
        return dict(zip(named, FusedHead.apply(*trainables, asked), strict=True))


def asked_of(
    readout: LMHead,
    target_n: Tensor,
    named: tuple[Need, ...],
    others: Others,
    moves: bool,
    slope_n: Tensor | None,
    temperature_n: Tensor | None,
    sizes: HeadSizes,
) -> Asked:
    """Heads are cast to the dtype of the current pass, which autocast decides."""
    device, dtype = readout.weight_VD.device.type, readout.weight_VD.dtype
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    beside = {role: (readout_of(other).cast(dtype), h_nD) for role, (other, h_nD) in others.items()}
    return Asked(named, target_n, readout.cast(dtype), beside, moves, slope_n, temperature_n, sizes)


def plain(
    model: PreTrainedModel,
    hidden_nD: Tensor,
    target_n: Tensor,
    named: tuple[Need, ...],
    others: Others,
    temperature_n: Tensor | None = None,
    sizes: HeadSizes = DEFAULT,
) -> dict[Need, Tensor]:
    """By autograd, chunk by chunk; where there are several chunks, logits are recomputed in the backward pass."""

    def run(h_CD: Tensor, target_C: Tensor, temperature_C: Tensor | None, *other_CD: Tensor) -> tuple[Tensor, ...]:
        beside = {role: logits_of(others[role][0], h) for role, h in zip(others, other_CD, strict=True)}
        block = Block(logits_of(model, h_CD), target_C, beside, temperature_C)
        return tuple(block.number(need) for need in named)

    outputs: list[tuple[Tensor, ...]] = []
    for c in range(0, max(len(target_n), 1), sizes.plain_chunk):
        cut = slice(c, c + sizes.plain_chunk)
        temperature_C = None if temperature_n is None else temperature_n[cut]
        chunk: tuple[Any, ...] = (hidden_nD[cut], target_n[cut], temperature_C, *(h[cut] for _, h in others.values()))
        if torch.is_grad_enabled() and len(target_n) > sizes.plain_chunk:
            outputs.append(checkpoint(run, *chunk, use_reentrant=False))
        else:
            outputs.append(run(*chunk))
    return {need: torch.cat(parts) for need, parts in zip(named, zip(*outputs, strict=True), strict=True)}


def head_bytes(
    model: PreTrainedModel,
    tokens: int,
    needs: Iterable[Need],
    beside: Mapping[str, PreTrainedModel],
    ahead: bool,
    sizes: HeadSizes = DEFAULT,
) -> float:
    """The peak memory of the head in bytes over so many tokens, forward and backward, in the dtype of the current pass;
    `ahead` says whether ∂L/∂log p will be known. Hidden states and their gradient aren't counted."""
    named, target_n = of_the_head(needs), torch.empty(tokens, dtype=torch.long, device=device_of(model))
    others = {role: (other, target_n) for role, other in beside.items()}  # of hidden states nothing is read
    trainables = [p for p in model.get_output_embeddings().parameters() if p.requires_grad]
    if reason(model, named, others) is not None:
        V = model.config.get_text_config().vocab_size
        logits = min(sizes.plain_chunk, tokens) * V * floats(named, finish_of(model.config), len(others))
        return 4.0 * (logits + sum(p.numel() for p in trainables))
    readout = readout_of(model)
    asked = asked_of(readout, target_n, named, others, True, target_n if ahead else None, None, sizes)
    heads = [asked.readout.weight_VD, *(other.weight_VD for other, _ in asked.others.values())]
    cast = sum(x.numel() * x.element_size() for x in heads if x.dtype != readout.weight_VD.dtype)
    return asked.taken(weight_moves=bool(trainables)) + cast


def floats(named: tuple[Need, ...], finish: Finish, others: int) -> int:
    """Numbers in float32 for each logit of a chunk on the plain path: logits raw and finished, log p and its gradient,
    and what the entropy and terms add to the graph."""
    terms = sum(isinstance(need, HeadTerm) for need in named)
    return (1 + others) * (1 + (finish != Finish())) + 2 + 2 * ("entropy" in named) + 4 * terms
