"""Hidden states of packed sequences, and the head over chunks of the tokens that are asked for.

The plain path: sequences are laid into right-padded rows. Under causal attention a real token never looks at
the padding behind it, so no mask is needed and the result is that of each sequence alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from scalpel.part import HeadTerm, Need, Out
from scalpel.registry import lookup

CHUNK = 1024  # tokens whose logits exist at one time


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """bfloat16 arithmetic over float32 weights, or plain float32."""
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def rows(input_N: Tensor, seq_N: Tensor, S: int, pad: int) -> tuple[Tensor, Tensor]:
    """Right-padded rows [S, L] and the position p_N of each token in its row."""
    length_S = torch.bincount(seq_N, minlength=S)
    p_N = torch.arange(len(seq_N), device=seq_N.device) - (length_S.cumsum(0) - length_S)[seq_N]
    padded_SL = torch.full((S, int(length_S.max())), pad, dtype=torch.long, device=seq_N.device)
    padded_SL[seq_N, p_N] = input_N
    return padded_SL, p_N


def hidden_before(model: PreTrainedModel, input_N: Tensor, seq_N: Tensor, at_n: Tensor, pad: int) -> Tensor:
    """Hidden states [n, D] from which the tokens `at_n` are predicted: those of the tokens before them."""
    S = int(seq_N.max()) + 1
    padded_SL, p_N = rows(input_N, seq_N, S, pad)
    hidden_SLD = model.base_model(padded_SL, use_cache=False).last_hidden_state
    return hidden_SLD[seq_N[at_n], p_N[at_n] - 1]


def device_of(model: PreTrainedModel) -> torch.device:
    return next(model.parameters()).device


def logits_of(model: PreTrainedModel, hidden_CD: Tensor) -> Tensor:
    """Logits [C, V] in float32: the head, then the scaling and soft-capping of the architecture."""
    logits_CV = model.get_output_embeddings()(hidden_CD).float()
    config = model.config.get_text_config()
    if (scale := getattr(config, "logit_scale", None)) is not None:
        logits_CV = logits_CV * scale
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        logits_CV = logits_CV / divisor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits_CV = cap * torch.tanh(logits_CV / cap)
    return logits_CV


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
    others: Mapping[str, tuple[PreTrainedModel, Tensor]],
) -> dict[Need, Tensor]:
    """What `needs` names, for n tokens, chunk by chunk; logits are recomputed in the backward pass."""
    named = [need for need in needs if need != "value"]

    def run(h_CD: Tensor, target_C: Tensor, *other_CD: Tensor) -> tuple[Tensor, ...]:
        logits_CV = logits_of(model, h_CD)
        beside = {role: logits_of(others[role][0], h) for role, h in zip(others, other_CD, strict=True)}
        return tuple(number(need, logits_CV, target_C, beside) for need in named)

    outputs: list[tuple[Tensor, ...]] = []
    for c in range(0, max(len(target_n), 1), CHUNK):
        cut = slice(c, c + CHUNK)
        chunk = (hidden_nD[cut], target_n[cut], *(h[cut] for _, h in others.values()))
        if torch.is_grad_enabled() and len(target_n) > CHUNK:
            outputs.append(checkpoint(run, *chunk, use_reentrant=False))
        else:
            outputs.append(run(*chunk))
    return {need: torch.cat(parts) for need, parts in zip(named, zip(*outputs, strict=True), strict=True)}


def number(need: Need, logits_CV: Tensor, target_C: Tensor, beside: Mapping[str, Tensor]) -> Tensor:
    """One requested number per token."""
    if isinstance(need, HeadTerm):
        other_CV = beside[need.other] if need.other else None
        return lookup("term", need.name)(logits_CV, other_CV, target_C, **dict(need.options))
    if need == "argmax":
        return logits_CV.argmax(-1)
    logp_CV = logits_CV.log_softmax(-1)
    if need == "logp":
        return logp_CV.gather(1, target_C[:, None])[:, 0]
    assert need == "entropy", need
    return -(logp_CV.exp() * logp_CV).sum(-1)


def scatter(outputs: Mapping[Need, Tensor], value_nK: Tensor | None, at_n: Tensor, N: int) -> Out:
    """Puts the numbers of the asked tokens back among all N tokens; the others hold zero."""

    def full(x_n: Tensor) -> Tensor:
        return x_n.new_zeros(N, *x_n.shape[1:]).index_put((at_n,), x_n)

    terms = {need: full(x) for need, x in outputs.items() if isinstance(need, HeadTerm)}
    plain = {need: full(x) for need, x in outputs.items() if isinstance(need, str)}
    return Out(
        logp_N=plain["logp"],
        entropy_N=plain.get("entropy"),
        argmax_N=plain.get("argmax"),
        value_NK=None if value_nK is None else full(value_nK),
        terms=terms,
    )
