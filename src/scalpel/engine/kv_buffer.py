"""Buffers for the keys and values of each layer during sampling, which grow and shrink with the sequences in them.

A bfloat16 product over a part of the slots would copy them first, at several times its own cost. So all slots are read,
unused ones with weight zero, and their number is kept near what is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

STEP = 16  # slots by which a buffer grows
SPARE = 4 / 3  # a buffer of more than this times what is needed is shrunk

Pair = tuple[Tensor, Tensor]


class KVBuffer:
    """Keys and values of `places` sequences of at most `most` tokens, each [places, heads, slots, d] in a layer."""

    def __init__(self, layers: int, places: int, most: int) -> None:
        self.places, self.most, self.slots = places, most, 0
        self._layers: list[Pair | None] = [None] * layers

    def fit(self, length: int) -> None:
        """Resizes the buffers for sequences of `length`; their content is kept, as far as it fits."""
        if self.slots < length or self.slots >= SPARE * length + STEP:
            self.slots = min(-(-length // STEP) * STEP, self.most)
            for layer, held in enumerate(self._layers):
                if held is not None:
                    self._layers[layer] = self._copied(held[0]), self._copied(held[1])

    def _copied(self, old: Tensor) -> Tensor:
        new = self._empty(old, old.dtype)
        both = min(self.slots, old.shape[2])
        new[:, :, :both] = old[:, :, :both]
        return new

    def _empty(self, like: Tensor, dtype: torch.dtype) -> Tensor:
        # zeros, since slots that hold nothing are read with weight 0, and 0 · NaN would be NaN
        return like.new_zeros(self.places, like.shape[1], self.slots, like.shape[-1], dtype=dtype)

    def of(self, layer: int, like: Tensor) -> Pair:
        """Keys and values of a layer; allocated at the first call, with the shape and dtype of `like` [·, heads, d]."""
        held = self._layers[layer]
        if held is None:
            # scores in bfloat16 would be rounded more than what they are made of; a CPU is as fast with float32 keys
            exact = torch.float32 if like.device.type == "cpu" else like.dtype
            held = self._layers[layer] = self._empty(like, exact), self._empty(like, like.dtype)
        return held

    def move(self, order: Sequence[int]) -> None:
        """Moves sequences: place i gets the content of place order[i]."""
        moved = [(i, r) for i, r in enumerate(order) if i != r]
        for held in self._layers:
            if moved and held is not None:
                to, source = torch.tensor(moved, device=held[0].device).T
                for x in held:
                    x[to] = x[source]
