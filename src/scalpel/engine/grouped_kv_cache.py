"""The KV cache of rows that are being sampled, and attention over it.

A prompt is stored once for all rows of its group; each row has slots of its own for its completion. The softmax runs
over both parts together, so this is the exact attention of each row. A new token copies nothing, and queries that share
a key-value head (grouped-query attention) are treated as positions, so no key is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from scalpel.engine.kv_buffer import KVBuffer

NAME = "scalpel-slots"  # the name under which this attention is registered with transformers


@dataclass(frozen=True)
class Run:
    """Consecutive prompts of one length in a prefill pass, and the first of the groups that they fill."""

    start: int
    count: int
    length: int
    group: int


class GroupedKVCache:
    """Room for `rows` rows in `groups` groups, as they come; group g's prompt has `length[g]` tokens.

    `group[r]` is the group of row r, `own[r]` how many tokens it has added. Rows and groups are dense: one that goes
    leaves its place to the last one.
    """

    def __init__(self, layers: int, groups: int, rows: int, longest: int, limit: int, device: torch.device) -> None:
        self.rows, self.groups, self.device = rows, groups, device
        self.prompts, self.added = KVBuffer(layers, groups, longest), KVBuffer(layers, rows, limit)
        self.group: list[int] = []
        self.own: list[int] = []
        self.length: list[int] = []
        self.runs: list[Run] = []

    # --- who is there -----------------------------------------------------------------------------------

    def enter(self, lengths: Sequence[int], n: int) -> None:
        """Adds groups of n rows each; the next pass prefills their prompts, in this order."""
        self.runs, start = [], 0
        for length in lengths:
            last = self.runs[-1] if self.runs else None
            if last and last.length == length:
                self.runs[-1] = Run(last.start, last.count + 1, length, last.group)
            else:
                self.runs.append(Run(start, 1, length, len(self.length)))
            self.group += [len(self.length)] * n
            self.length.append(length)
            start += length
        self.own += [0] * (n * len(lengths))
        self.prompts.fit(max(self.length))

    def leave(self, gone: Sequence[int]) -> list[int]:
        """Removes rows, and returns for each remaining place the row that was there before."""
        order = closed(len(self.own), gone)
        self.added.move(order)
        self.group, self.own = [self.group[r] for r in order], [self.own[r] for r in order]
        used = set(self.group)
        groups = closed(len(self.length), [g for g in range(len(self.length)) if g not in used])
        self.prompts.move(groups)
        place = {g: i for i, g in enumerate(groups)}
        self.group, self.length = [place[g] for g in self.group], [self.length[g] for g in groups]
        return order

    # --- one token a row --------------------------------------------------------------------------------

    def begin_step(self) -> None:
        """Prepares a decoding step: where each row's token is written, which slots it attends to, and the position of
        its queries among those of its group, which attend to the prompt together."""
        R, G, device = len(self.own), len(self.length), self.device
        self.runs = []
        self.prompts.fit(max(self.length))
        self.added.fit(max(self.own) + 1)
        own_R = torch.tensor(self.own, device=device)
        group_R = torch.tensor(self.group, device=device)
        length_R = torch.tensor(self.length, device=device)[group_R]
        P = self.prompts.slots
        at = torch.arange(P + self.added.slots, device=device)
        outside = torch.where(at < P, at >= length_R[:, None], at - P > own_R[:, None])
        self.bias_R1J = torch.zeros(outside.shape, device=device).masked_fill_(outside, -torch.inf)[:, None]
        self.row_R, self.at_R = torch.arange(R, device=device), own_R
        rank = ranks(self.group)
        self.most = max(rank) + 1
        place = [g * self.most + k for g, k in zip(self.group, rank, strict=True)]
        self.in_order = place == list(range(G * self.most))  # then no gather is needed
        self.place_R = torch.tensor(place, device=device)
        self.grid = torch.zeros(G * self.most, dtype=torch.long, device=device)
        self.grid[self.place_R] = self.row_R
        self.own = [t + 1 for t in self.own]

    def attend(self, layer: int, q_RHD: Tensor, k_RKD: Tensor, v_RKD: Tensor, scaling: float) -> Tensor:
        """softmax(q·kᵀ·scaling) v over the row's prompt and its own tokens: [R, heads, d]."""
        (R, H, d), K = q_RHD.shape, k_RKD.shape[1]
        shared_key, shared = (x[: len(self.length)].flatten(0, 1) for x in self.prompts.of(layer, v_RKD))
        key, value = (x[:R] for x in self.added.of(layer, v_RKD))
        key[self.row_R, :, self.at_R], value[self.row_R, :, self.at_R] = k_RKD.to(key.dtype), v_RKD
        q_RHD = q_RHD.to(key.dtype) * scaling
        apart = torch.bmm(q_RHD.reshape(R * K, H // K, d), key.flatten(0, 1).mT).view(R, H, -1)
        together = self._rows(torch.bmm(self._together(q_RHD, K), shared_key.mT), K)
        p = torch.cat([together, apart], 2).add_(self.bias_R1J).softmax(-1, dtype=torch.float32).to(value.dtype)
        P = together.shape[2]
        out = torch.bmm(p[:, :, P:].reshape(R * K, H // K, -1), value.flatten(0, 1)).view(R, H, d)
        return out + self._rows(torch.bmm(self._together(p[:, :, :P], K), shared), K)

    def _together(self, x_RHJ: Tensor, K: int) -> Tensor:
        """The queries of a group's rows for one key-value head, side by side: [groups · K, most · H / K, J]."""
        _, H, J = x_RHJ.shape
        grid = (x_RHJ if self.in_order else x_RHJ[self.grid]).reshape(-1, self.most, K, H // K, J)
        return grid.transpose(1, 2).reshape(-1, self.most * H // K, J)

    def _rows(self, x: Tensor, K: int) -> Tensor:
        """Back to rows: [R, H, J]."""
        grid = x.view(-1, K, self.most, x.shape[1] // self.most, x.shape[2]).transpose(1, 2)
        rows = grid.reshape(-1, K * grid.shape[3], x.shape[2])
        return rows if self.in_order else rows[self.place_R]

    # --- prompts ----------------------------------------------------------------------------------------

    def read(self, layer: int, q_MHD: Tensor, k_MKD: Tensor, v_MKD: Tensor, scaling: float) -> Tensor:
        """Causal attention within each prompt, whose keys and values are stored: [M, heads, d]."""
        key, value = self.prompts.of(layer, v_MKD)
        q_MHD, k_MKD = q_MHD.to(v_MKD.dtype), k_MKD.to(v_MKD.dtype)
        out = torch.empty_like(q_MHD)
        for run in self.runs:
            cut = slice(run.start, run.start + run.count * run.length)
            q, k, v = (x[cut].unflatten(0, (run.count, run.length)).transpose(1, 2) for x in (q_MHD, k_MKD, v_MKD))
            place = slice(run.group, run.group + run.count)
            key[place, :, : run.length], value[place, :, : run.length] = k, v
            k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
            made = F.scaled_dot_product_attention(q, k, v, is_causal=run.length > 1, scale=scaling)
            out[cut] = made.transpose(1, 2).flatten(0, 1)
        return out


def closed(count: int, gone: Sequence[int]) -> list[int]:
    """The order of 0 … count − 1 without those gone, with each hole filled by the last remaining one."""
    order = [i for i in range(count - len(gone))]
    left = set(gone)
    last = iter(i for i in reversed(range(len(order), count)) if i not in left)
    return [next(last) if i in left else i for i in order]


def ranks(group: Sequence[int]) -> list[int]:
    """How many rows of its group come before each row."""
    seen: dict[int, int] = {}
    found = []
    for g in group:
        found.append(seen.get(g, 0))
        seen[g] = found[-1] + 1
    return found


# --- in transformers' place ---------------------------------------------------------------------------------

_current: ContextVar[GroupedKVCache] = ContextVar("slots")


class Unsupported(Exception):
    """The model's attention has a feature that isn't implemented here."""


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, scaling: float | None = None, **more: Any
) -> tuple[Tensor, None]:
    """Transformers' attention interface: [1, heads, M, d] in, [1, M, heads, d] out."""
    asked = [name for name in ("softcap", "s_aux", "position_bias") if more.get(name) is not None]
    if asked or mask is not None or query.shape[0] != 1:
        raise Unsupported(f"its attention takes {', '.join(asked) or 'a mask of its own'}")
    slots = _current.get()
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    scaling = q.shape[-1] ** -0.5 if scaling is None else scaling
    with torch.autocast(q.device.type, enabled=False):
        out = (slots.read if slots.runs else slots.attend)(int(module.layer_idx), q, k, v, scaling)  # type: ignore[arg-type]
    return out[None].to(query.dtype), None


AttentionInterface.register(NAME, attention)


@contextmanager
def attending(model: PreTrainedModel, slots: GroupedKVCache):
    """Within this context the model's attention uses this KV cache."""
    config = model.config.get_text_config()
    before, token = config._attn_implementation, _current.set(slots)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        _current.reset(token)
