"""How much of the head's work is done at once: a matter of memory and speed, never of results beyond rounding."""

from __future__ import annotations

from dataclasses import dataclass

from scalpel.engine.lm_head import LMHead


@dataclass(frozen=True)
class HeadSizes:
    """Sizes of the pieces in which the head is computed; 0 stands for a number that fits the vocabulary and the device.

    chunk          tokens whose raw logits exist at one time, enough for the matrix products
    block          rows of a chunk that are read in float32 at one time, which on a CPU stay in its cache
    kept           bytes of raw logits that a forward pass may keep for its backward pass; else they are recomputed
    slab           rows of ∂L/∂W computed at once on a CPU, so that the product is still in the cache when it is added
    plain_chunk    tokens whose logits exist at one time where the head goes through autograd
    """

    chunk: int = 0
    block: int = 0
    kept: int = 256 * 2**20
    slab: int = 4096
    plain_chunk: int = 1024

    def of(self, readout: LMHead) -> tuple[int, int]:
        """Tokens of a chunk and of a block."""
        V, cpu = readout.weight_VD.shape[0], readout.weight_VD.device.type == "cpu"
        chunk, block = (max(256, 2**24 // V), max(1, 2**18 // V)) if cpu else (max(256, 2**27 // V),) * 2
        return self.chunk or chunk, self.block or block

    def slab_of(self, readout: LMHead) -> int:
        """Rows of ∂L/∂W that are computed at once."""
        V, cpu = len(readout.weight_VD), readout.weight_VD.device.type == "cpu"
        return min(V, self.slab) if cpu else V


DEFAULT = HeadSizes()
