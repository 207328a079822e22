"""The padded forward pass, for models that can't run packed: each sequence is a right-padded row.

Under causal attention no token attends to the padding after it, so no mask is needed and the result is that of each
sequence alone.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from scalpel.batch import MEAN_EMBEDDING
from scalpel.engine.prefix_tree import read_at

Mix = tuple[Tensor, Tensor]  # ids to blend with what is shown, and their share
AT_ONCE = 4096  # embeddings that are averaged at one time


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


def hidden_before(
    model: PreTrainedModel,
    input_N: Tensor,
    seq_N: Tensor,
    at_n: Tensor,
    pad: int,
    mix: Mix | None = None,
    after: bool = False,
) -> Tensor:
    """Hidden states [n, D] from which the tokens `at_n` are predicted: those of the tokens before them. With `after`
    [2n, D]: behind these the states of the tokens themselves."""
    S = int(seq_N.max()) + 1
    padded_SL, p_N = rows(input_N, seq_N, S, pad)
    shown: dict[str, Tensor] = {"input_ids": padded_SL}
    if mix is not None:
        mixed_SL, share_SL = padded_SL.clone(), torch.zeros(padded_SL.shape, device=padded_SL.device)
        mixed_SL[seq_N, p_N], share_SL[seq_N, p_N] = mix
        shown = blended(model, padded_SL, (mixed_SL, share_SL))
    hidden_SLD = model.base_model(**shown, use_cache=False).last_hidden_state
    read_n = read_at(at_n, after)
    return hidden_SLD[seq_N[read_n], p_N[read_n]]


def blended(model: PreTrainedModel, ids: Tensor, mix: Mix) -> dict[str, Tensor]:
    """The input embeddings in place of `ids` [...]: (1 − share) · E[ids] + share · E[others], where the other is the
    mean of all embeddings if it is `MEAN_EMBEDDING`."""
    others, share = mix
    embed = model.get_input_embeddings()
    start, end = embed(ids), embed(others.clamp(min=0))
    if bool((averaged := others == MEAN_EMBEDDING).any()):
        end = torch.where(averaged.unsqueeze(-1), mean_embedding(model).to(end), end)
    return {"inputs_embeds": start + share.unsqueeze(-1).to(start.dtype) * (end - start)}


@torch.no_grad()
def mean_embedding(model: PreTrainedModel) -> Tensor:
    """The mean of all input embeddings [D]. It goes through the module, since some scale what they look up, and
    adapters add to it."""
    embed, V = model.get_input_embeddings(), model.config.get_text_config().vocab_size
    ids = torch.arange(V, device=device_of(model))
    return torch.stack([embed(ids_v).float().sum(0) for ids_v in ids.split(AT_ONCE)]).sum(0) / V


def context(model: PreTrainedModel) -> int:
    """The length of the model's context in tokens; a large number where its configuration sets no limit."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**20


def learned_positions(model: PreTrainedModel) -> bool:
    """Whether the model has a vector for each position, and none beyond its context."""
    modules = [m for name, m in model.named_modules() if name.endswith("wpe") or "position" in name]
    return any(isinstance(m, nn.Embedding) and 0 <= m.num_embeddings - context(model) <= 2 for m in modules)


def width_of(model: PreTrainedModel, name: str) -> int:
    """The width of what the model's head reads, and a module beside it. Raises ValueError if it can't carry one."""
    weight_VD = getattr(model.get_output_embeddings(), "weight", None)
    if not isinstance(weight_VD, Tensor) or weight_VD.dim() != 2:
        raise ValueError(
            f"the model ({type(model).__name__}) has no linear head whose input a {name} head could read too: take a "
            "method without one, such as grpo or rloo, or another model"
        )
    return weight_VD.shape[1]


def device_of(model: PreTrainedModel) -> torch.device:
    return next(model.parameters()).device
