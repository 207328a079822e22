"""Layout: where each token of a batch lies in one packed forward pass, with common beginnings computed once.

The sequences of a batch form a prefix tree: a prompt and its samples, two completions of a pair, a system prompt
before every conversation. Each node of the tree is laid once, its children behind it. A token attends to the
tokens before it in its own node, and to all tokens of the nodes above. What comes after the last token that is
asked for is not laid at all: under causal attention nothing depends on it.

Trees of a few dozen places (two sentences that differ in a word, the documents of a small world) are put together
into bundles, and attention over a bundle takes a small mask: one call for all of them, however they branch.

    M  places of the packed pass    B  bundles    W  places of a bundle
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

WORTH = 64  # a shared prefix must save this many tokens, or the additional attention call costs more than it saves
SHORTEST = 4  # minimal length of a shared prefix: each one costs an attention call, however short it is
DEEPEST = 8  # levels of the tree
BUNDLE = 64  # places of a bundle: masked attention over so few costs about as much as one call's overhead
Ids = list[int]


@dataclass(frozen=True)
class Own:
    """`count` nodes of equal length, side by side: each token sees those before it in its own node."""

    start: int
    length: int
    count: int

    @property
    def stop(self) -> int:
        return self.start + self.length * self.count


@dataclass(frozen=True)
class Above:
    """The places `start`:`stop` lie below the node at `key_start`:`key_stop`, and see all of it."""

    start: int
    stop: int
    key_start: int
    key_stop: int


@dataclass(frozen=True)
class Bundles:
    """The places at the front of the pass, `place_BW` of each bundle; `real_BW` tells them from what fills it up.
    `mask_B1WW` is 0 where a place sees another, −∞ where not."""

    place_BW: Tensor
    real_BW: Tensor
    mask_B1WW: Tensor

    def take(self, x_MHD: Tensor) -> Tensor:
        """The places as [B, H, W, D], or [B, H, W] of [M, H]."""
        return x_MHD[self.place_BW].transpose(1, 2)

    def put(self, into_MHD: Tensor, x_BHWD: Tensor) -> None:
        """The way back."""
        x_mHD = x_BHWD.transpose(1, 2)[self.real_BW]
        into_MHD[: len(x_mHD)] = x_mHD

    def to(self, device: torch.device) -> Bundles:
        return Bundles(self.place_BW.to(device), self.real_BW.to(device), self.mask_B1WW.to(device))


@dataclass(frozen=True)
class PrefixTree:
    """`token_M` is the batch's token at each place, `position_M` its position in its sequence, `place_n` the
    place of the token before each asked one; `spans` are (first, one past the last) position of each node."""

    token_M: Tensor
    position_M: Tensor
    place_n: Tensor
    own: tuple[Own, ...]
    above: tuple[Above, ...]
    spans: tuple[tuple[int, int], ...]
    bundles: Bundles | None = None

    @property
    def M(self) -> int:
        return self.token_M.shape[0]

    @property
    def longest(self) -> int:
        return max(stop for _, stop in self.spans)

    def to(self, device: torch.device) -> PrefixTree:
        return replace(
            self,
            token_M=self.token_M.to(device),
            position_M=self.position_M.to(device),
            place_n=self.place_n.to(device),
            bundles=self.bundles and self.bundles.to(device),
        )


@dataclass
class Node:
    """Positions `start`:`stop`, common to `sequences`."""

    sequences: list[int]
    start: int
    stop: int
    children: list[Node] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Places of it and of all below."""
        return self.stop - self.start + sum(child.size for child in self.children)


def common(a: Ids, b: Ids) -> int:
    """How many tokens two sequences have in common from their beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))  # noqa: B905


def overlaps(ids: Sequence[Ids]) -> list[int]:
    """What each sequence has in common with the one before it in the list; 0 for the first."""
    return [0] * bool(ids) + [common(a, b) for a, b in zip(ids, ids[1:])]  # noqa: B905


def tree(ids: Sequence[Ids], worth: float = WORTH, bundle: int = 0) -> list[Node]:
    """The prefix tree of sequences as its topmost nodes, siblings by length, longest first. A node is split off
    where sharing it saves at least `worth` tokens and it isn't too short; and in a tree of at most `bundle` places
    wherever there is something to share, unless `worth` is infinite."""
    order = sorted((s for s in range(len(ids)) if len(ids[s])), key=lambda s: tuple(ids[s]))
    overlap = overlaps([ids[s] for s in order])
    lengths = [0, *accumulate(len(ids[s]) for s in order)]
    shared = [0, *accumulate(overlap)]

    def small(first: int, last: int) -> bool:
        """Whether the tree of order[first:last] fits a bundle if all that can be is shared."""
        places = lengths[last] - lengths[first] - (shared[last] - shared[first + 1])
        return worth < inf and places <= bundle

    def cut(first: int, last: int, at: int) -> list[tuple[int, int]]:
        """Runs of order[first:last] that have more than `at` tokens in common."""
        bounds = [first, *(i for i in range(first + 1, last) if overlap[i] == at), last]
        return list(zip(bounds, bounds[1:]))  # noqa: B905

    def grow(runs: list[tuple[int, int]], start: int, level: int, inside: bool = False) -> list[Node]:
        """Nodes for runs of the order, each of whose tokens before `start` are laid already; `inside` a bundle."""
        grown = []
        while runs:
            first, last = runs.pop()
            alone = last - first == 1
            stop = min(overlap[first + 1 : last], default=len(ids[order[first]]))
            saved = (last - first - 1) * (stop - start)
            fits = inside or (not level and small(first, last))
            worthwhile = saved >= worth and stop - start >= SHORTEST and level < DEEPEST
            if alone or worthwhile or (fits and saved):
                below = [] if alone else grow(cut(first, last, stop), stop, level + 1, fits)
                grown.append(Node(order[first:last], start, stop, below))
            else:
                runs += cut(first, last, stop)
        return sorted(grown, key=lambda node: (bool(node.children), node.start - node.stop))

    return grow([(0, len(order))] if order else [], 0, 0)


@dataclass
class Laid:
    """Nodes in the order in which they are laid."""

    nodes: list[tuple[Node, int]] = field(default_factory=list)  # each with its place
    above: list[Above] = field(default_factory=list)
    M: int = 0
    inside: int = 0  # nodes that lie in bundles
    bundles: list[list[Node]] = field(default_factory=list)

    def add_bundles(self, roots: Sequence[Node], bundle: int) -> None:
        """Whole trees, the largest first, as many a bundle as it holds. To be called before `add`."""
        free = 0
        for root in sorted(roots, key=lambda root: -root.size):
            if root.size > free:
                self.bundles.append([])
                free = bundle
            self.bundles[-1].append(root)
            free -= root.size
            self.add(root)
        self.inside, self.above = len(self.nodes), []

    def add(self, node: Node) -> None:
        """The node, then everything below it."""
        place = self.M
        self.nodes.append((node, place))
        self.M = stop = place + node.stop - node.start
        for child in node.children:
            self.add(child)
        if stop < self.M:
            self.above.append(Above(stop, self.M, place, stop))

    def own(self) -> tuple[Own, ...]:
        """Neighbours of equal length together, without what lies in bundles."""
        runs = groupby(self.nodes[self.inside :], key=lambda laid: laid[0].stop - laid[0].start)
        found = [(length, list(run)) for length, run in runs]
        return tuple(Own(run[0][1], length, len(run)) for length, run in found if length)


def bundles_of(trees: Sequence[Sequence[Node]], W: int) -> Bundles | None:
    """The bundles of trees that are laid out one after the other; W is the size of a bundle."""
    if not trees:
        return None
    sizes = torch.tensor([sum(root.size for root in roots) for roots in trees])
    real_BW = torch.arange(W) < sizes[:, None]
    place_BW = (sizes.cumsum(0) - sizes)[:, None] + torch.arange(W)
    # Padding attends to itself: the softmax of a row of −∞ alone would be NaN.
    sees_BWW = torch.eye(W, dtype=torch.bool).repeat(len(trees), 1, 1)
    for roots, sees_WW in zip(trees, sees_BWW.numpy(), strict=True):
        place = 0
        for root in roots:
            place = mark_visible(root, place, [], sees_WW)
    mask_BWW = torch.zeros(sees_BWW.shape).masked_fill_(~sees_BWW, -torch.inf)
    return Bundles(place_BW.where(real_BW, 0), real_BW, mask_BWW[:, None])


def mark_visible(node: Node, place: int, above: list[slice], sees_WW: Any) -> int:
    """Sets the mask for the places of a node and of all nodes below, and returns the first place after them."""
    own = slice(place, place + node.stop - node.start)
    for seen in above:
        sees_WW[own, seen] = True
    sees_WW[own, own] = np.tri(own.stop - own.start, dtype=bool)
    place = own.stop
    for child in node.children:
        place = mark_visible(child, place, [*above, own], sees_WW)
    return place


def read_at(at_n: Tensor, after: bool) -> Tensor:
    """The tokens whose hidden states are read: those before `at_n`; with `after`, followed by `at_n` themselves."""
    return torch.cat([at_n - 1, at_n]) if after else at_n - 1


def needed(
    shown_N: Tensor, seq_N: Tensor, at_n: Tensor, S: int = 0, after: bool = False
) -> tuple[list[list[int]], list[int]]:
    """The input of each sequence up to the last token on which a requested number depends, and the sequence's start in
    the batch. Under causal attention nothing after that token can change a result."""
    length_S = torch.bincount(seq_N, minlength=S)
    start_S = length_S.cumsum(0) - length_S
    end_S = torch.zeros_like(length_S).scatter_reduce(0, seq_N[at_n], at_n + after - start_S[seq_N[at_n]], "amax")
    ids, starts = shown_N.tolist(), start_S.tolist()
    return [ids[start : start + end] for start, end in zip(starts, end_S.tolist(), strict=True)], starts


def lay_out(
    shown_N: Tensor,
    seq_N: Tensor,
    at_n: Tensor,
    worth: float = WORTH,
    bundle: int = BUNDLE,
    after: bool = False,
) -> PrefixTree:
    """The layout of a batch whose tokens `at_n` are asked for; `shown_N` are equal where tokens show the same
    (`Batch.shown_N`), mostly their ids. A token's number comes from the place before it; with `after` its own place is
    asked for as well, and `place_n` has twice as many entries.
    With an infinite `worth` nothing is shared; with `bundle` 0 there are no bundles."""
    ids, starts = needed(shown_N, seq_N, at_n, after=after)
    laid, roots = Laid(), tree(ids, worth, bundle)
    laid.add_bundles([root for root in roots if root.size <= bundle], bundle)
    for node in roots:
        if node.size > bundle:
            laid.add(node)
    token_M: list[int] = []
    position_M: list[int] = []
    place_N = torch.full((len(shown_N),), -1)
    for node, place in laid.nodes:
        token_M += range(starts[node.sequences[0]] + node.start, starts[node.sequences[0]] + node.stop)
        position_M += range(node.start, node.stop)
        places = torch.arange(place, place + node.stop - node.start)
        for s in node.sequences:
            place_N[starts[s] + node.start : starts[s] + node.stop] = places
    return PrefixTree(
        torch.tensor(token_M),
        torch.tensor(position_M),
        place_N[read_at(at_n.cpu(), after)],
        laid.own(),
        tuple(laid.above),
        tuple((node.start, node.stop) for node, _ in laid.nodes if node.stop > node.start),
        bundles_of(laid.bundles, bundle),
    ).to(shown_N.device)


def distinct(
    at_n: Tensor, layout: PrefixTree, ids_N: Tensor, temperature_N: Tensor | None = None
) -> tuple[Tensor, PrefixTree, Tensor | slice]:
    """Tokens that are asked for more than once, from the same place and at the same temperature, once: those to ask
    for, the layout for them, and where among them each of `at_n` is found."""
    columns = [layout.place_n, ids_N[at_n]]
    if temperature_N is not None:
        columns.append(temperature_N[at_n].float().view(torch.int32).long())  # by its bits
    keys_uC, again_n = torch.stack(columns, 1).unique(dim=0, return_inverse=True)
    if len(keys_uC) == len(at_n):
        return at_n, layout, slice(None)
    n_n = torch.arange(len(at_n), device=at_n.device)
    first_u = torch.full((len(keys_uC),), len(at_n), device=at_n.device).scatter_reduce(0, again_n, n_n, "amin")
    return at_n[first_u], replace(layout, place_n=layout.place_n[first_u]), again_n
