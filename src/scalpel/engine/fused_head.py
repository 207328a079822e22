"""The head without logits: numbers per token and their gradients, a chunk of tokens at a time.

For a chunk C of tokens the matrix product gives raw logits [C, V] in the arithmetic of the pass. Blocks of a few
rows, small enough for a core's cache, are then read in float32. The backward pass writes the slopes S = ∂L/∂raw over
the chunk, and two more products give

    ∂L/∂h = S W        ∂L/∂W = Sᵀ h        ∂L/∂b = Σ_C S

The raw logits of a pass are kept for its backward pass if they are small, else recomputed. Where ∂L/∂log p is known
beforehand (`slope_n`), the gradients are computed in the forward pass: three products, one chunk of memory. The
backward pass compares the actual ∂L/∂log p with the predicted one, and computes the gradients again if they differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from scalpel.engine.head_outputs import Block
from scalpel.engine.head_sizes import HeadSizes
from scalpel.engine.lm_head import Finish, LMHead
from scalpel.part import HeadTerm, Need

ROUNDING = 1e-5  # relative tolerance between the predicted and the actual ∂L/∂log p
OWN = ""  # the role of the model itself
Raw = dict[str, Tensor]  # raw logits by role


@dataclass(frozen=True)
class Asked:
    """The requested numbers of a pass, and the heads that give them, already cast to the dtype of the pass."""

    named: tuple[Need, ...]
    target_n: Tensor
    readout: LMHead
    others: Mapping[str, tuple[LMHead, Tensor]]  # by role, with hidden states
    moves: bool  # whether there will be a backward pass
    slope_n: Tensor | None = None  # ∂L/∂log p where it is known, and nothing else has a gradient
    temperature_n: Tensor | None = None  # of the distributions of log-probs and entropies; 1 where there is none
    sizes: HeadSizes = HeadSizes()

    @property
    def cuts(self) -> list[slice]:
        C = self.sizes.of(self.readout)[0]
        return [slice(c, c + C) for c in range(0, max(len(self.target_n), 1), C)]

    @property
    def keeps(self) -> bool:
        weight_VD = self.readout.weight_VD
        logits = len(self.target_n) * weight_VD.shape[0] * (1 + len(self.others))
        return self.moves and self.slope_n is None and logits * weight_VD.element_size() <= self.sizes.kept

    def taken(self, weight_moves: bool) -> float:
        """The peak bytes of a forward and a backward pass, without hidden states and their gradient: kept raw logits,
        those of a chunk, the float32 tensors of a block, and ∂L/∂W."""
        (V, D), n = self.readout.weight_VD.shape, len(self.target_n)
        C, B = (min(n, size) for size in self.sizes.of(self.readout))
        models, each = 1 + len(self.others), self.readout.weight_VD.element_size()
        logits = each * V * models * (C + n * self.keeps)
        gradient = (4 * V + each * self.sizes.slab_of(self.readout)) * D * weight_moves
        return float(logits + 4 * B * V * self.floats + gradient)

    @property
    def floats(self) -> int:
        """Numbers in float32 for each logit of a block: finished logits where they aren't the raw ones, log p, p, and
        what else is in the making at one time for terms, the entropy or a cap. Logits over a temperature are there only
        until log p is made of them, before p."""
        finish, exact = self.readout.finish, self.readout.weight_VD.dtype == torch.float32
        finished = 0 if exact and finish == Finish() else 1 + len(self.others)
        if any(isinstance(need, HeadTerm) for need in self.named):
            return finished + 2 + 5
        return finished + 2 + 2 * ("entropy" in self.named or finish.cap is not None)

    def buffer(self, tokens: int) -> Raw:
        """Memory for raw logits."""
        readouts = {OWN: self.readout, **{role: readout for role, (readout, _) in self.others.items()}}
        return {role: r.weight_VD.new_empty(tokens, len(r.weight_VD)) for role, r in readouts.items()}

    def raw(self, hidden_nD: Tensor, cut: slice, buffer: Raw) -> Raw:
        """The raw logits of a chunk, which fill the buffer."""
        raw = {OWN: self.readout.raw(hidden_nD[cut], buffer[OWN])}
        return raw | {role: r.raw(other_nD[cut], buffer[role]) for role, (r, other_nD) in self.others.items()}

    def blocks(self, raw: Raw, cut: slice) -> Iterator[tuple[slice, Block]]:
        """The rows of a chunk, a few at a time, with their place in it."""
        target_C, B = self.target_n[cut], self.sizes.of(self.readout)[1]
        temperature_C = None if self.temperature_n is None else self.temperature_n[cut]
        finish = {OWN: self.readout.finish, **{role: readout.finish for role, (readout, _) in self.others.items()}}
        for b in range(0, max(len(target_C), 1), B):
            rows = slice(b, b + B)
            logits = {role: finish[role].logits(raw_CV[rows]) for role, raw_CV in raw.items()}
            temperature_B = None if temperature_C is None else temperature_C[rows]
            yield rows, Block(logits.pop(OWN), target_C[rows], logits, temperature_B)

    def slope(self, block: Block, given: Mapping[Need, Tensor]) -> Tensor:
        return self.readout.finish.back(block.slope(given), block.logits_BV)


class Gradients:
    """∂L/∂h, and for a trainable head ∂L/∂W and ∂L/∂b.

    The sums over chunks are in float32 even if the products are in bfloat16: with 8 bits of mantissa, what a late chunk
    adds to a large sum would be rounded away.
    """

    def __init__(self, hidden_nD: Tensor, asked: Asked, weight_moves: bool, bias_moves: bool) -> None:
        self.readout, self.slab = asked.readout, asked.sizes.slab_of(asked.readout)
        V, D = self.readout.weight_VD.shape
        self.hidden_nD = torch.empty_like(hidden_nD)
        self.weight_VD = hidden_nD.new_zeros(V, D, dtype=torch.float32) if weight_moves else None
        self.bias_V = hidden_nD.new_zeros(V, dtype=torch.float32) if bias_moves else None

    def add(self, cut: slice, slope_CV: Tensor, hidden_CD: Tensor) -> None:
        self.hidden_nD[cut] = slope_CV @ self.readout.weight_VD
        if self.bias_V is not None:
            self.bias_V += slope_CV.sum(0, dtype=torch.float32)
        if self.weight_VD is not None:
            hidden_CD, V = hidden_CD.to(slope_CV.dtype), len(self.weight_VD)
            for v in range(0, V, self.slab):
                self.weight_VD[v : v + self.slab] += slope_CV[:, v : v + self.slab].t() @ hidden_CD

    def all(self) -> tuple[Tensor | None, ...]:
        return self.hidden_nD, self.weight_VD, self.bias_V


class FusedHead(torch.autograd.Function):
    """(hidden_nD, weight_VD, bias_V, asked) → the numbers of `asked.named`, [n] each."""

    @staticmethod
    def forward(
        ctx: Any, hidden_nD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, asked: Asked
    ) -> tuple[Tensor, ...]:
        # Outputs without a gradient arrive as None in `backward`. As zeros they would count as gradients, and the slope
        # of every requested number would be computed.
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(hidden_nD, weight_VD)  # the weight only so that a change of it is noticed
        ctx.asked, ctx.made = asked, None
        slope_n = asked.slope_n if asked.moves else None
        if slope_n is not None:
            ctx.made = Gradients(hidden_nD, asked, *ctx.needs_input_grad[1:3])
        chunk = min(len(hidden_nD), asked.sizes.of(asked.readout)[0])
        buffer = asked.buffer(len(hidden_nD) if asked.keeps else chunk)
        ctx.kept = buffer if asked.keeps else None
        parts: list[list[Tensor]] = [[] for _ in asked.named]
        for cut in asked.cuts:
            raw = asked.raw(hidden_nD, cut, place(buffer, cut, len(hidden_nD), asked.keeps))
            for rows, block in asked.blocks(raw, cut):
                for part, need in zip(parts, asked.named, strict=True):
                    part.append(block.number(need))
                if slope_n is not None:
                    # Slopes overwrite the raw logits, which saves a second [C, V] buffer. This needs `keeps` to be
                    # false, which it is when the slope is known: kept logits must survive until `backward`.
                    raw[OWN][rows] = asked.slope(block, {"logp": slope_n[cut][rows]})
            if ctx.made:
                ctx.made.add(cut, raw[OWN], hidden_nD[cut])
        outputs = tuple(torch.cat(part) for part in parts)
        ctx.mark_non_differentiable(*(x for x in outputs if not x.is_floating_point()))
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        asked, (hidden_nD, _) = ctx.asked, ctx.saved_tensors
        given_n = {need: g for need, g in zip(asked.named, given, strict=True) if g is not None}
        made, ctx.made = ctx.made, None  # handed out once, since autograd may add to it
        if made is None or not expected(given_n, asked.slope_n):
            made = gradients(ctx, asked, hidden_nD, given_n)
        return (*made.all(), None)


def gradients(ctx: Any, asked: Asked, hidden_nD: Tensor, given_n: Mapping[Need, Tensor]) -> Gradients:
    """The gradients, from logits that were kept or are recomputed; slopes overwrite recomputed logits."""
    made = Gradients(hidden_nD, asked, *ctx.needs_input_grad[1:3])
    buffer = asked.buffer(min(len(hidden_nD), asked.sizes.of(asked.readout)[0]))
    for cut in asked.cuts:
        here = place(buffer, cut, len(hidden_nD), whole=False)
        raw = place(ctx.kept, cut, len(hidden_nD), whole=True) if ctx.kept else asked.raw(hidden_nD, cut, here)
        for rows, block in asked.blocks(raw, cut):
            here[OWN][rows] = asked.slope(block, {need: g[cut][rows] for need, g in given_n.items()})
        made.add(cut, here[OWN], hidden_nD[cut])
    return made


def place(buffer: Raw, cut: slice, n: int, whole: bool) -> Raw:
    """The rows of a chunk in a buffer for all n tokens (`whole`), or in a buffer for one chunk."""
    at = cut if whole else slice(0, min(cut.stop, n) - cut.start)
    return {role: buffer_CV[at] for role, buffer_CV in buffer.items()}


def expected(given_n: Mapping[Need, Tensor], slope_n: Tensor) -> bool:
    """Whether the actual ∂L/∂log p is the predicted one, and no other number has a gradient."""
    rest = [g for need, g in given_n.items() if need != "logp"]
    if "logp" not in given_n or any(bool(g.any()) for g in rest):
        return False
    return torch.allclose(given_n["logp"], slope_n, rtol=ROUNDING, atol=0.0)
