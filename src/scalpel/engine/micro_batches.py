"""How a batch is cut into micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.engine.prefix_tree import (
    WORTH,
    Ids,
    common,
    needed,
)
from scalpel.part import Unit

TIGHT = 0.75  # a sequence shorter than this share of the longest starts a new micro-batch: padding costs more


def units_of(batch: Batch, unit: Unit) -> list[Tensor]:
    """The sequences of each unit that must stay together."""
    if unit not in ("pair", "group"):
        return list(torch.arange(batch.S)[:, None])
    group_S = batch.dense_group_S().cpu()
    return list(torch.argsort(group_S, stable=True).split(torch.bincount(group_S).tolist()))


def padded_pieces(batch: Batch, unit: Unit, parts: int, bound: int, worth: int) -> list[Tensor]:
    """Pieces of at most `bound` padded tokens and at least `parts` of them, longest first. From `worth` padded
    tokens on, a piece takes only sequences about as long as its longest."""
    length_S = torch.bincount(batch.seq_N.cpu(), minlength=batch.S)
    units = sorted(units_of(batch, unit), key=lambda index_s: -int(length_S[index_s].max()))
    most = max(1, len(units) // parts)
    pieces: list[list[Tensor]] = []
    longest = padded = 0
    for index_s in units:
        length = int(length_S[index_s].max())
        full = not pieces or len(pieces[-1]) >= most or padded + longest * len(index_s) > bound
        if full or (padded >= worth and length < TIGHT * longest):
            pieces.append([])
            longest, padded = length, 0
        pieces[-1].append(index_s)
        padded += longest * len(index_s)
    return [torch.cat(piece) for piece in pieces]


def packed_pieces(batch: Batch, unit: Unit, parts: int, bound: int) -> list[Tensor]:
    """Pieces of at most `bound` tokens, common beginnings counted once, and at least `parts` of them, of about
    equal size, largest first. Sequences that begin alike come together, and a group isn't split without need."""
    if not batch.S:
        return []
    seq_N = batch.seq_N.cpu()
    ids, _ = needed(batch.shown_N.cpu(), seq_N, batch.train_N.cpu().nonzero()[:, 0], batch.S)
    groups = [in_order(index_s.tolist(), ids) for index_s in units_of(batch, "group")]
    if unit in ("pair", "group"):
        units = groups
    elif len(groups) < parts:
        units = [[s] for s in range(batch.S)]
    else:
        units = [part for g in groups for part in ([g] if tokens(g, ids) <= bound else [[s] for s in g])]
    units.sort(key=lambda u: ids[u[0]])
    most = max(1, len(units) // parts)
    whole = tokens([s for u in units for s in u], ids)
    even = whole / max(parts, ceil(whole / bound))
    pieces: list[list[list[int]]] = []
    sizes: list[int] = []
    for u in units:
        size = sizes[-1] + tokens(u, ids, pieces[-1][-1][-1]) if pieces else 0
        if not pieces or len(pieces[-1]) >= most or size > bound or sizes[-1] + size > 2 * even:
            pieces.append([])
            sizes.append(0)
            size = tokens(u, ids)
        pieces[-1].append(u)
        sizes[-1] = size
    found = sorted(zip(sizes, pieces, strict=True), key=lambda piece: -piece[0])
    return [torch.tensor([s for u in piece for s in u]) for _, piece in found]


def in_order(sequences: Sequence[int], ids: Sequence[Ids]) -> list[int]:
    return sorted(sequences, key=lambda s: ids[s])


def tokens(sequences: Sequence[int], ids: Sequence[Ids], after: int | None = None) -> int:
    """Tokens to compute for sequences in order, what each has in common with the one before it left out."""
    count, before = 0, ids[after] if after is not None else []
    for s in sequences:
        alike = common(before, ids[s])
        count += len(ids[s]) - (alike if alike >= WORTH else 0)
        before = ids[s]
    return count
