"""A model's parameters in blocks that are trainable or frozen: whole parameters, or the q, k and v inside a fused one.

Scopes select blocks by component and layer; this file makes the selected ones trainable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scalpel.models.module_names import components_of, layer_of
from scalpel.scope import IndexMap, Trainable, freeze_all


@dataclass(frozen=True)
class Piece:
    """One component's part of a parameter: `start` … `stop` along `dim`, or the whole parameter if `dim` is None."""

    name: str
    parameter: nn.Parameter
    component: str
    layer: int | None
    dim: int | None = None
    start: int = 0
    stop: int = 0
    step: int = 1

    @property
    def index(self) -> Tensor:
        """Its flat indices in the parameter."""
        place = torch.arange(self.parameter.numel(), device=self.parameter.device).view(self.parameter.shape)
        if self.dim is not None:
            chosen = torch.arange(self.start, self.stop, self.step, device=place.device)
            place = place.index_select(self.dim, chosen)
        return place.reshape(-1)

    def __repr__(self) -> str:
        return f"{self.component}@{'-' if self.layer is None else self.layer} {self.name}"


def pieces(model: nn.Module) -> list[Piece]:
    """Every parameter, with fused ones split into their components. A tied head counts as embedding."""
    found = []
    for name, parameter in model.named_parameters():
        components, layer = components_of(name), layer_of(name)
        if len(components) == 1:
            found.append(Piece(name, parameter, components[0], layer))
            continue
        dim = output_dim(model, name, parameter)
        if alternates(model, name):
            width, n = parameter.shape[dim], len(components)
            found += [Piece(name, parameter, c, layer, dim, k, width, n) for k, c in enumerate(components)]
            continue
        edges = cuts(model, components, parameter.shape[dim])
        for component, start, stop in zip(components, edges, edges[1:], strict=False):
            found.append(Piece(name, parameter, component, layer, dim, start, stop))
    return found


def output_dim(model: nn.Module, name: str, parameter: nn.Parameter) -> int:
    """The dimension of the outputs: the first one of a Linear, the last one of GPT-2's Conv1D; of stacked experts
    (expert, …) the second or the last one, depending on the family."""
    module = model.get_submodule(name.rpartition(".")[0])
    if parameter.dim() == 3:
        width = model.config.get_text_config().hidden_size  # type: ignore[operator,union-attr]
        last = parameter.shape[1] == width and parameter.shape[2] != width
        return 2 if getattr(module, "is_transposed", last) else 1
    return 1 if type(module).__name__ == "Conv1D" and parameter.dim() == 2 else 0


def alternates(model: nn.Module, name: str) -> bool:
    """Whether the components of a fused matrix are interleaved, as gate and up in gpt-oss's experts are."""
    return not getattr(model.get_submodule(name.rpartition(".")[0]), "is_concatenated", True)


def cuts(model: nn.Module, components: tuple[str, ...], width: int) -> list[int]:
    """The boundaries of the components of a fused matrix. With grouped-query attention, keys and values have fewer
    heads than queries."""
    if components != ("q", "k", "v"):
        return [width * k // len(components) for k in range(len(components) + 1)]
    config: Any = model.config.get_text_config()  # type: ignore[operator,union-attr]
    heads = config.num_attention_heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    queries = width * heads // (heads + 2 * shared)
    return [0, queries, queries + (width - queries) // 2, width]


def trainables_of(chosen: Iterable[Piece], model: nn.Module) -> list[Trainable]:
    """Freezes all parameters except the chosen blocks. A parameter that is chosen entirely is trained as a whole; of
    others, the chosen entries are trained by their indices."""
    freeze_all(model)
    by_name: dict[str, list[Piece]] = {}
    for piece in chosen:
        by_name.setdefault(piece.name, []).append(piece)
    trainables = []
    for name, parts in by_name.items():
        parameter = parts[0].parameter
        parameter.requires_grad_(True)
        index = torch.cat([p.index for p in parts]).sort().values
        trainables.append(Trainable(name, parameter, None if len(index) == parameter.numel() else index))
    return trainables


def select(model: nn.Module, wanted: Callable[[Piece], bool]) -> list[Piece]:
    return [piece for piece in pieces(model) if wanted(piece)]


def matrices(model: nn.Module) -> list[Piece]:
    """The pieces of all matrices inside the layers, including experts. Raises ValueError if there is none."""

    def wanted(piece: Piece) -> bool:
        dims = (2, 3) if "experts" in piece.name.split(".") else (2,)
        bias = piece.name.endswith("bias")  # biases of stacked experts have two dimensions as well
        return piece.layer is not None and piece.parameter.dim() in dims and piece.component != "norms" and not bias

    found = select(model, wanted)
    if not found:
        raise ValueError("none of the matrices in this model's layers has a known name: use scope 'all'")
    return found


def present(found: Iterable[Piece]) -> tuple[list[str], int]:
    """The available components, and the number of layers."""
    found = list(found)
    layers: Collection[int] = {p.layer for p in found if p.layer is not None}
    return sorted({p.component for p in found}), max(layers, default=-1) + 1


def index_map_of(before: Iterable[Trainable], after: Iterable[Trainable]) -> IndexMap:
    """The index map that carries optimiser states from one selection to the next: for each trainable entry its position
    among the entries that were trainable before, or −1."""
    old = {m.name: m for m in before}
    return {m.name: places(old[m.name], m) for m in after if m.name in old}


def places(old: Trainable, new: Trainable) -> Tensor | None:
    """The position in `old` of each entry of `new`, −1 where it has none; None if both are the whole weight."""
    if old.index is None and new.index is None:
        return None
    where_n = torch.full((new.weight.numel(),), -1, dtype=torch.long, device=new.weight.device)
    index = torch.arange(new.weight.numel(), device=where_n.device) if old.index is None else old.index
    where_n[index] = torch.arange(len(index), device=where_n.device)
    return where_n if new.index is None else where_n[new.index]


Layers = str | list[int]  # "all", "4-7", "0,2,4-7", or a list of indices


def layer_numbers(layers: Layers, n: int) -> frozenset[int]:
    """The layers that a recipe names, for a model with n layers. Negative indices in a list count from the end."""
    if isinstance(layers, list):
        numbers = [k + n if k < 0 else k for k in layers]
    elif layers == "all":
        numbers = list(range(n))
    else:
        spans = [span.partition("-") for span in layers.replace(" ", "").split(",")]
        if not all(a.isdigit() and (b.isdigit() or not dash) for a, dash, b in spans):
            raise ValueError(f'layers {layers!r} can\'t be parsed: write "all", "4-7", "0,2,4-7" or a list [0, 2]')
        numbers = [k for a, dash, b in spans for k in range(int(a), int(b if dash else a) + 1)]
    outside = [k for k in numbers if not 0 <= k < n]
    if outside or not numbers:
        raise ValueError(f"layers {layers!r}: this model has the layers 0-{n - 1}; name at least one of them")
    return frozenset(numbers)
