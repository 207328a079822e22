"""The head over chunks of the tokens that are asked for: from hidden states to numbers, never whole logits."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from scalpel.engine.forward import device_of
from scalpel.part import HeadTerm, Need
from scalpel.registry import lookup

CHUNK = 1024  # tokens whose logits exist at one time


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
