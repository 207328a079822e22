"""Keys and values of the rows that are being sampled, and attention over them.

A prompt is stored once for all rows that go on from it; a row has slots of its own for what it adds. The softmax runs
over both parts together, so this is the attention of each row alone, not an approximation of it. Nothing is copied
when a token comes, and the queries that share a key-value head are read as positions, so no key is repeated.
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

NAME = "scalpel-slots"  # under which transformers knows this attention
FIRST = 32  # slots that a row has to begin with


@dataclass(frozen=True)
class Run:
    """Prompts of one length, end to end among the tokens of a pass, and the first of the groups that they fill."""

    start: int
    count: int
    length: int
    group: int


class Slots:
    """Room for `rows` rows in `groups` groups, as they come; group g's prompt has `length[g]` tokens.

    `group[r]` is the group of row r, `own[r]` how many tokens it has added. Rows and groups are dense: one that goes
    leaves its place to the last one.
    """

    def __init__(self, layers: int, groups: int, rows: int, longest: int, limit: int, device: torch.device) -> None:
        self.layers, self.rows, self.groups, self.longest, self.limit = layers, rows, groups, longest, limit
        self.device = device
        self.prompt = self.own_slots = torch.empty(0)  # [2, layers, groups or rows, heads, length, d]
        self.group: list[int] = []
        self.own: list[int] = []
        self.length: list[int] = []
        self.runs: list[Run] = []

    # --- who is there -----------------------------------------------------------------------------------

    def enter(self, lengths: Sequence[int], n: int) -> None:
        """New groups of n rows behind those that are there; the next pass brings their prompts, in this order."""
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

    def leave(self, gone: Sequence[int]) -> list[int]:
        """Rows that end; gives the row that each remaining place held before."""
        order = closed(len(self.own), gone)
        self._move(self.own_slots, order, max(self.own, default=0))
        self.group, self.own = [self.group[r] for r in order], [self.own[r] for r in order]
        used = set(self.group)
        groups = closed(len(self.length), [g for g in range(len(self.length)) if g not in used])
        self._move(self.prompt, groups, max(self.length, default=0))
        place = {g: i for i, g in enumerate(groups)}
        self.group, self.length = [place[g] for g in self.group], [self.length[g] for g in groups]
        return order

    def _move(self, store: Tensor, order: Sequence[int], length: int) -> None:
        moved = [(i, r) for i, r in enumerate(order) if i != r]
        if moved and store.numel():
            to, source = torch.tensor(moved, device=self.device).T
            store[:, :, to, :, :length] = store[:, :, source, :, :length]

    # --- one token a row --------------------------------------------------------------------------------

    def begin_step(self) -> None:
        """Lays out the coming token of every row: where it is written, what it may look at, and where its queries
        stand among those of its group, which read the prompt together."""
        R, G, device = len(self.own), len(self.length), self.device
        self.runs = []
        if max(self.own) >= self.own_slots.shape[4]:
            self._grow()
        own_R = torch.tensor(self.own, device=device)
        group_R = torch.tensor(self.group, device=device)
        length_R = torch.tensor(self.length, device=device)[group_R]
        self.T, self.P = max(self.own) + 1, max(self.length)
        at = torch.arange(self.P + self.T, device=device)
        outside = torch.where(at < self.P, at >= length_R[:, None], at - self.P > own_R[:, None])
        self.bias_R1J = torch.zeros(outside.shape, device=device).masked_fill_(outside, -torch.inf)[:, None]
        self.row_R, self.at_R = torch.arange(R, device=device), own_R
        rank = ranks(self.group)
        self.most = max(rank) + 1
        self.place_R = group_R * self.most + torch.tensor(rank, device=device)
        self.grid = torch.zeros(G * self.most, dtype=torch.long, device=device)
        self.grid[self.place_R] = self.row_R
        self.own = [t + 1 for t in self.own]

    def _grow(self) -> None:
        """Twice the slots a row, up to the longest completion."""
        old = self.own_slots
        length = min(max(FIRST, 2 * old.shape[4]), self.limit)
        self.own_slots = old.new_zeros(*old.shape[:4], length, old.shape[5])
        self.own_slots[:, :, :, :, : old.shape[4]] = old

    def attend(self, layer: int, q_RHD: Tensor, k_RKD: Tensor, v_RKD: Tensor, scaling: float) -> Tensor:
        """softmax(q·kᵀ·scaling) v over the row's prompt and its own tokens: [R, heads, d]."""
        (R, H, d), K = q_RHD.shape, k_RKD.shape[1]
        q_RHD = q_RHD.to(self.own_slots.dtype)
        key, value = self.own_slots[:, layer, :R].unbind()
        key[self.row_R, :, self.at_R], value[self.row_R, :, self.at_R] = k_RKD.to(key.dtype), v_RKD.to(key.dtype)
        key, value = (x[:, :, : self.T].flatten(0, 1) for x in (key, value))
        shared_key, shared_value = self.prompt[:, layer, : len(self.length), :, : self.P].flatten(1, 2).unbind()
        own = torch.bmm(q_RHD.reshape(R * K, H // K, d), key.mT).view(R, H, self.T)
        shared = self._rows(torch.bmm(self._together(q_RHD, K), shared_key.mT), K)
        score = torch.cat([shared, own], 2).float().mul_(scaling).add_(self.bias_R1J)
        p = score.softmax(-1).to(value.dtype)
        out = torch.bmm(p[:, :, self.P :].reshape(R * K, H // K, self.T), value).view(R, H, d)
        return out + self._rows(torch.bmm(self._together(p[:, :, : self.P], K), shared_value), K)

    def _together(self, x_RHJ: Tensor, K: int) -> Tensor:
        """What the rows of a group have for one key-value head, side by side: [groups · K, most · H / K, J]."""
        _, H, J = x_RHJ.shape
        grid = x_RHJ[self.grid].view(-1, self.most, K, H // K, J)
        return grid.transpose(1, 2).reshape(-1, self.most * H // K, J)

    def _rows(self, x: Tensor, K: int) -> Tensor:
        """Back to rows: [R, H, J]."""
        grid = x.view(-1, K, self.most, x.shape[1] // self.most, x.shape[2]).transpose(1, 2)
        return grid.reshape(-1, K * grid.shape[3], x.shape[2])[self.place_R]

    # --- prompts ----------------------------------------------------------------------------------------

    def read(self, layer: int, q_MHD: Tensor, k_MKD: Tensor, v_MKD: Tensor, scaling: float) -> Tensor:
        """Causal attention inside each prompt, whose keys and values stay: [M, heads, d]."""
        if not self.prompt.numel():
            self._allocate(v_MKD)
        q_MHD, k_MKD = q_MHD.to(v_MKD.dtype), k_MKD.to(v_MKD.dtype)
        out = torch.empty_like(q_MHD)
        for run in self.runs:
            cut = slice(run.start, run.start + run.count * run.length)
            q, k, v = (x[cut].unflatten(0, (run.count, run.length)).transpose(1, 2) for x in (q_MHD, k_MKD, v_MKD))
            held = self.prompt[:, layer, run.group : run.group + run.count, :, : run.length]
            held[0], held[1] = k, v
            k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
            made = F.scaled_dot_product_attention(q, k, v, is_causal=run.length > 1, scale=scaling)
            out[cut] = made.transpose(1, 2).flatten(0, 1)
        return out

    def _allocate(self, like: Tensor) -> None:
        _, K, d = like.shape
        # scores and the two halves of a sum would be rounded in between; where float32 is as fast it avoids that
        dtype = torch.float32 if self.device.type == "cpu" else like.dtype
        # zeros, since slots that a row has not filled are read with weight 0, and 0 · NaN would be NaN
        self.prompt = like.new_zeros(2, self.layers, self.groups, K, self.longest, d, dtype=dtype)
        self.own_slots = like.new_zeros(2, self.layers, self.rows, K, min(FIRST, self.limit), d, dtype=dtype)


def closed(count: int, gone: Sequence[int]) -> list[int]:
    """The order of 0 … count − 1 without those gone, each hole filled by the last that stays."""
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

_current: ContextVar[Slots] = ContextVar("slots")


class Unsupported(Exception):
    """The model asks of its attention what isn't done here."""


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
def attending(model: PreTrainedModel, slots: Slots):
    """Inside, the model's attention goes through `slots`."""
    config = model.config.get_text_config()
    before, token = config._attn_implementation, _current.set(slots)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        _current.reset(token)
