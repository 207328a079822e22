"""Equally many passes on all ranks: passes through a wrapped policy are collectives, in which every rank takes part.

Ranks have different shares of a batch, so they have different numbers of micro-batches, or none at all. They agree on
the largest number. A rank that has fewer runs passes over three tokens whose loss is zero: they add nothing to
gradients, metrics or costs. Gradients are added up over ranks in the last pass alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext

import torch
from torch import Tensor

from scalpel.batch import POLICY, Batch, Row, pack
from scalpel.distributed.reduce import largest_over_ranks, ranks
from scalpel.distributed.wrap import unsynchronised
from scalpel.engine import Engine
from scalpel.engine.cost_meter import CostMeter
from scalpel.part import Need

Piece = tuple[Batch, list[Tensor]]


def equally_many(engine: Engine, pieces: Iterable[Piece], count: int, needs: Iterable[Need]) -> Iterator[Piece]:
    """The `count` micro-batches of this rank, each to be run forward and backward by the caller before the next one is
    taken, and behind them as many empty passes as another rank has micro-batches more."""
    if ranks() == 1:
        yield from pieces
        return
    most, own = largest_over_ranks(count), iter(pieces)
    for k in range(most):
        with nullcontext() if k == most - 1 else unsynchronised(engine.wrapped):
            piece = next(own, None)
            if piece is None or not bool(piece[0].train_N.any()):  # no pass would be run over it
                empty_pass(engine, needs)
            if piece is not None:
                yield piece


def empty_pass(engine: Engine, needs: Iterable[Need]) -> None:
    """A forward and a backward pass with a loss of zero, whose cost isn't counted."""
    batch = pack([Row([1, 2, 3], [False, True, True], [POLICY] * 3)])
    meter, engine.meter = engine.meter, CostMeter()
    try:
        out = engine.forward(batch, needs)
    finally:
        engine.meter = meter
    numbers = [x for x in (out.logp_N, out.entropy_N, out.value_NK, *out.terms.values()) if x is not None]
    loss = torch.stack([x.sum() for x in numbers if x.requires_grad]).sum() * 0.0
    loss.backward()
