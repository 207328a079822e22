"""The relative change of each matrix.

relative = ‖W₁ − W₀‖_F / ‖W₀‖_F;  for several matrices, the square root of the summed squares above and
below. `moved` is the share of entries that differ at all, `moved_bf16` of those that still differ once
both are rounded to bfloat16 (smaller changes vanish when a model is saved that way).

Limits: zero for two equal models; for W₁ = c·W₀ it is |c − 1|. A matrix of zeros has no relative change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from scalpel.pair.anatomy.component import component, place
from scalpel.pair.pair import Pair


@dataclass(frozen=True)
class Change:
    """One tensor. Norms are Frobenius norms in float64."""

    name: str
    component: str
    layer: int | None
    entries: int
    base_norm: float
    change_norm: float
    moved: float
    moved_bf16: float

    @property
    def relative(self) -> float | None:
        return self.change_norm / self.base_norm if self.base_norm > 0 else None

    def row(self) -> dict[str, Any]:
        return asdict(self) | {"relative": self.relative}


def change(pair: Pair) -> list[Change]:
    """Every floating-point tensor of the pair, in the base's order."""
    return [tensor_change(name, base, tuned) for name, base, tuned in pair if base.is_floating_point()]


def tensor_change(name: str, base: Tensor, tuned: Tensor) -> Change:
    base, tuned = base.detach(), tuned.detach().to(base.device)
    part, layer = component(name)
    return Change(
        name=name,
        component=part,
        layer=layer,
        entries=base.numel(),
        base_norm=norm(base.double()),
        change_norm=norm(tuned.double() - base.double()),
        moved=share(base != tuned),
        moved_bf16=share(base.bfloat16() != tuned.bfloat16()),
    )


def norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor))


def share(true: Tensor) -> float:
    return float(true.double().mean()) if true.numel() else 0.0


def table(changes: Iterable[Change]) -> dict[str, Any]:
    """Component × layer, ready for JSON and for a heat map.

    `layers` are labels, "" for what lies outside the layers; a cell is None where nothing is.
    `total` is the same measure over the whole model.
    """
    changes = list(changes)
    components = sorted({one.component for one in changes}, key=place)
    layers = sorted({one.layer for one in changes}, key=lambda layer: (layer is None, layer or 0))
    cells: dict[tuple[str, int | None], list[Change]] = {}
    for one in changes:
        cells.setdefault((one.component, one.layer), []).append(one)

    def grid(pick: Any) -> list[list[float | None]]:
        return [[pick(cells.get((part, layer), [])) for layer in layers] for part in components]

    return {
        "components": components,
        "layers": ["" if layer is None else str(layer) for layer in layers],
        "relative": grid(relative),
        "moved": grid(moved),
        "total": {"relative": relative(changes), "moved": moved(changes)},
    }


def relative(changes: list[Change]) -> float | None:
    below = sum(one.base_norm**2 for one in changes)
    return sqrt(sum(one.change_norm**2 for one in changes) / below) if below > 0 else None


def moved(changes: list[Change]) -> float | None:
    entries = sum(one.entries for one in changes)
    return sum(one.moved * one.entries for one in changes) / entries if entries else None
