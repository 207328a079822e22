"""Half fine-tuning."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from scalpel.models.module_names import ATTENTION, MLP
from scalpel.models.parameter_blocks import (
    Piece,
    index_map_of,
    pieces,
    trainables_of,
)
from scalpel.part import part
from scalpel.scope import IndexMap, Scope, ScopeContext
from scalpel.seeding import derive


def category(piece: Piece) -> str:
    if piece.component in ATTENTION:
        return "attention"
    return "mlp" if piece.component in MLP else "norm" if piece.component == "norms" else "other"


def unit(piece: Piece) -> str:
    """The unit of selection: a matrix with its bias, or the weight of a norm with its bias."""
    return piece.name.rpartition(".")[0] + ":" + piece.component


def half(found: list[Piece], seed: int) -> set[str]:
    """The units selected at random: half of those of each category in each layer. Where their number is odd, half of
    the layers round up and the others round down."""
    units: dict[str, dict[int, list[str]]] = {}
    for piece in found:
        if piece.layer is not None:
            layer = units.setdefault(category(piece), {}).setdefault(piece.layer, [])
            layer.extend([unit(piece)] if unit(piece) not in layer else [])
    generator = torch.Generator().manual_seed(seed)
    drawn: set[str] = set()
    # Which units are drawn depends on the order of the calls to this generator: any change of it changes seeded runs.
    for layers in units.values():
        order = torch.randperm(len(layers), generator=generator).tolist()
        for place, members in zip(order, layers.values(), strict=True):
            more = len(members) % 2 and place < len(layers) // 2
            size = len(members) // 2 + bool(more)
            drawn |= {members[k] for k in torch.randperm(len(members), generator=generator)[:size].tolist()}
    return drawn


@part("scope", "hft")
def hft(model: nn.Module, context: ScopeContext, *, round: int = 0, outside: bool = True) -> Scope:
    """Makes a random half of each layer's matrices trainable and freezes the other half (half fine-tuning, HFT).

    In each layer 2 of {q, k, v, o} are trainable; of {gate, up, down} 2 in half of the layers and 1 in the others; half
    of the norms. Parameters outside the layers (embedding, head, last norm) are trainable unless `outside` is off.
    `round` > 0 redraws the half every so many steps; 0 keeps one draw for the whole stage. The frozen half has no
    weight decay.

    Reads    parameter names; the seed.
    Limits   it is full fine-tuning with an infinite L2 penalty to the base on the frozen half.
    Fails    the trainable half lacks capacity for the skill: accuracy stays below that of `all`.
    Source   Hui et al. 2024 (arXiv 2404.18466), section 3, the category-level rule.
    """
    found = pieces(model)

    def draw(turn: int) -> list[Piece]:
        drawn = half(found, derive(context.seed, "hft", turn) % 2**63)
        return [p for p in found if (outside if p.layer is None else unit(p) in drawn)]

    scope, turns = Scope(trainables_of(draw(0), model)), {"turn": 0}

    def take(turn: int) -> IndexMap:
        before, turns["turn"] = scope.trainables, turn
        scope.trainables = trainables_of(draw(turn), model)
        return index_map_of(before, scope.trainables)

    def refresh(step: int) -> IndexMap | None:
        return take(step // round) if round and step % round == 0 else None

    def restore(state: Mapping[str, Any]) -> None:
        take(int(state["turn"]))

    scope.refresh, scope.state, scope.restore = refresh, lambda: dict(turns), restore
    return scope
