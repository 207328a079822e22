"""Skips tokens without credit: under losses that vanish with their credit, they need no forward pass.

    L = Σ_t ℓ(c_t, …),  ℓ(0, …) = 0 and ∂ℓ/∂log π(y_t) = 0  ⇒  only {t : c_t ≠ 0} has to be computed

A group whose samples all got the same reward is such a case: its z-scores are zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.config.plan import Stream
from scalpel.part import Out


@dataclass(frozen=True)
class CreditedPart:
    """The part of a batch that goes through the model, with the credits of each signal that need no forward pass."""

    batch: Batch
    known: tuple[Tensor, ...]  # [N], one a signal
    left_out: int = 0  # trained tokens

    def pieces(self, pieces_s: Sequence[Tensor], device: torch.device) -> Iterator[tuple[Batch, list[Tensor]]]:
        """The micro-batches of these sequences, with the known credits of their tokens."""
        for index_s in pieces_s:
            token_n = self.batch.places(index_s)[0]
            yield self.batch.pick(index_s).to(device), [known_N[token_n].to(device) for known_N in self.known]


def credited_part(stream: Stream, batch: Batch, progress: float) -> CreditedPart:
    """The batch without tokens that have zero credit in every signal. Counts must be taken on the whole batch: a loss
    is a mean over all tokens, those with zero credit included."""
    known = known_credits(stream, batch, progress)
    left_out_N = idle(batch, known, stream.vanishing(progress))
    if not bool(left_out_N.any()):
        return CreditedPart(batch, known)
    # `whole_S` keeps the number of trained tokens per sequence, by which some losses divide: otherwise the mean over a
    # sequence would become a mean over its remaining tokens.
    train_N = batch.train_N & ~left_out_N
    narrow = replace(batch, train_N=train_N, whole_S=batch.length_S)
    index_s = torch.unique(batch.seq_N[train_N])
    token_n = batch.places(index_s)[0]
    return CreditedPart(narrow.pick(index_s), tuple(known_N[token_n] for known_N in known), int(left_out_N.sum()))


@torch.no_grad()
def known_credits(stream: Stream, batch: Batch, progress: float) -> tuple[Tensor, ...]:
    """For each signal, the product of the credits that read only the batch. They are computed once, on the whole batch:
    on a part of it, a group's statistics would be those of the part."""
    nothing, found = Out(torch.zeros(batch.N, device=batch.ids_N.device)), []
    for signal in stream.signals:
        credit_N = torch.ones_like(nothing.logp_N)
        for p in signal.credits:
            if not p.waits(progress):
                credit_N = credit_N * p(nothing, batch, progress=progress)
        found.append(torch.where(batch.train_N, credit_N, 0.0))
    return tuple(found)


def idle(batch: Batch, known: Sequence[Tensor], unit: str | None) -> Tensor:
    """[N]: the trained tokens with zero credit in every signal; for unit "sequence" only those in sequences in which
    all trained tokens are such."""
    if unit is None:
        return torch.zeros_like(batch.train_N)
    idle_N = batch.train_N & torch.stack([known_N == 0 for known_N in known]).all(0)
    if unit == "sequence":
        idle_N = idle_N & batch.broadcast(batch.sum_S((~idle_N).float()) == 0)
    return idle_N
