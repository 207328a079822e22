"""Decoding for models with a recurrent state, such as Mamba and RWKV, beside attention or in its place.

A recurrent state can't skip padding, so nothing is padded: prompts of one length are prefilled together, and decoded
together in a pool. `Anew` has no cache and recomputes each row from its beginning at every token: slow, but right for
every model, and the reference in tests of the other implementations.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import LinearAttentionCacheLayerMixin

from scalpel.engine.padded_forward import device_of

CARRIES = ("past_key_values", "cache_params", "state")  # the names of caches and states in models' outputs
Ids = Sequence[Sequence[int]]


def has_state(model: PreTrainedModel) -> bool:
    """Whether some layer has a recurrent state."""
    if taken(model) & {"cache_params", "state"}:
        return True
    try:
        cache = DynamicCache(config=model.config)
    except (AttributeError, KeyError, TypeError, ValueError):  # a config without kinds of layers has no states
        return False
    return any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in cache.layers)


def taken(model: PreTrainedModel) -> set[str]:
    """The argument names of the model's forward pass."""
    return set(inspect.signature(model.forward).parameters)


class Carried(Exception):
    """The model's cache or state can't be split into rows."""


@dataclass
class Pool:
    """Rows of one length, with their cache or state."""

    rows: int
    length: int
    name: str
    carry: Any

    def select(self, index: Tensor) -> None:
        """Keeps these rows, in this order; a row may come several times."""
        if hasattr(self.carry, "reorder_cache"):
            self.carry.reorder_cache(index)
        elif isinstance(self.carry, list | tuple) and all(isinstance(x, Tensor) for x in self.carry):
            self.carry = [x[index] for x in self.carry]
        else:
            raise Carried(f"the rows of its {type(self.carry).__name__} can't be told apart")
        self.rows = len(index)


class Pools:
    """Prompts prefilled without padding, and rows that are decoded together with those of the same length."""

    def __init__(self, model: PreTrainedModel, n: int, most: int) -> None:
        self.model, self.n, self.most = model, n, most
        self.device, self.taken = device_of(model), taken(model)
        self.pools: list[Pool] = []

    def free_rows(self) -> int:
        return max(0, self.most - sum(pool.rows for pool in self.pools) // self.n)

    def enter(self, prompts: Ids) -> Tensor:
        logits = []
        for length, alike in groupby(prompts, key=len):
            ids = torch.tensor([list(p) for p in alike], device=self.device)
            pool = Pool(len(ids), 0, "", None)
            first_PV = self._pass(pool, ids)
            pool.length = length
            if self.n > 1:
                pool.select(torch.arange(len(ids), device=self.device).repeat_interleave(self.n))
            self.pools.append(pool)
            logits.append(first_PV.repeat_interleave(self.n, 0))
        return torch.cat(logits)

    def advance(self, token_R: Tensor) -> Tensor:
        logits = []
        for pool, token in zip(self.pools, token_R.split([pool.rows for pool in self.pools]), strict=True):
            logits.append(self._pass(pool, token[:, None]))
            pool.length += 1
        return torch.cat(logits)

    def _pass(self, pool: Pool, ids: Tensor) -> Tensor:
        asked: dict[str, Any] = {"use_cache": True}
        if pool.name:
            asked[pool.name] = pool.carry
        if "logits_to_keep" in self.taken:
            asked["logits_to_keep"] = 1
        if "position_ids" in self.taken:
            place = torch.arange(pool.length, pool.length + ids.shape[1], device=self.device)
            asked["position_ids"] = place[None].expand(len(ids), -1)
        out = self.model(ids, **asked)
        pool.name = next((name for name in CARRIES if getattr(out, name, None) is not None), "")
        if not pool.name:
            raise Carried("it hands nothing on from token to token")
        pool.carry = getattr(out, pool.name)
        return out.logits[:, -1].float()

    def leave(self, gone: Sequence[int]) -> list[int]:
        left, order, first = set(gone), [], 0
        for pool in self.pools:
            stay = [r for r in range(pool.rows) if first + r not in left]
            order += [first + r for r in stay]
            first += pool.rows
            if 0 < len(stay) < pool.rows:
                pool.select(torch.tensor(stay, dtype=torch.long, device=self.device))
            elif not stay:
                pool.rows = 0
        self.pools = [pool for pool in self.pools if pool.rows]
        return order


@dataclass
class Anew:
    """No cache: every row is recomputed from its beginning at every token, together with rows of its length."""

    model: PreTrainedModel
    n: int
    most: int
    ids: list[list[int]] = field(default_factory=list)

    def free_rows(self) -> int:
        return max(0, self.most - len(self.ids) // self.n)

    def enter(self, prompts: Ids) -> Tensor:
        new = [list(p) for p in prompts]
        logits_PV = self._pass(new)
        self.ids += [list(p) for p in new for _ in range(self.n)]
        return logits_PV.repeat_interleave(self.n, 0)

    def advance(self, token_R: Tensor) -> Tensor:
        for row, token in zip(self.ids, token_R.tolist(), strict=True):
            row.append(token)
        return self._pass(self.ids)

    def _pass(self, ids: Sequence[list[int]]) -> Tensor:
        found: list[Tensor | None] = [None] * len(ids)
        by_length = sorted(range(len(ids)), key=lambda r: len(ids[r]))
        for _, alike in groupby(by_length, key=lambda r: len(ids[r])):
            rows = list(alike)
            shown = torch.tensor([ids[r] for r in rows], device=device_of(self.model))
            for r, z_V in zip(rows, self.model(shown, use_cache=False).logits[:, -1].float(), strict=True):
                found[r] = z_V
        return torch.stack([z_V for z_V in found if z_V is not None])

    def leave(self, gone: Sequence[int]) -> list[int]:
        order = [r for r in range(len(self.ids)) if r not in set(gone)]
        self.ids = [self.ids[r] for r in order]
        return order
