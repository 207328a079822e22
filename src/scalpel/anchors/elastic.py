"""Elastic weights: each is held as strongly as answers depend on it."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from scalpel.anchors.context import ImportanceContext
from scalpel.binding.bounds import Count
from scalpel.part import Metrics, part

LEAST = 1e-30  # a mean to divide by, where nothing depends on anything


def nothing(**hyper: Any) -> dict[str, Tensor]:
    return {}


def weighed(
    state: Mapping[str, Tensor],
    opening: ImportanceContext,
    *,
    source: str | dict[str, Any] | None,
    task: dict[str, Any] | None,
    texts: int,
    **other: Any,
) -> dict[str, Tensor]:
    """With the diagonal of the Fisher information of what begins to move: F = mean over y of (∂ log π(y) / ∂θ)²."""
    batch = opening.texts(source or {"name": "self-written", "documents": texts}, task, texts)
    found = len(torch.unique(batch.seq_N[batch.train_N]))
    if not found:
        raise ValueError(
            f"anchor 'elastic' weighs weights by texts, but source {source!r} gave none: take more `texts`, another "
            "`source` such as 'demonstrations' or none at all, or anchor 'l2', which needs no texts"
        )
    return {**state, **{name: square / found for name, square in opening.squares(batch).items()}}


def limits() -> Iterator[tuple]:
    home = {"w": torch.tensor([1.0, 2.0], dtype=torch.float64), "v": torch.zeros(2, 2, dtype=torch.float64)}
    yield home, home, {}, 0.0
    moved = {"w": home["w"] + torch.tensor([3.0, 4.0], dtype=torch.float64), "v": home["v"]}
    yield moved, home, {"strength": 0.1}, 1.25  # nothing weighed: all alike, ½ · 0.1 · (9 + 16)


@part("anchor", "elastic", over="parameters", state=nothing, weigh=weighed, limits=limits)
def elastic(
    now: Mapping[str, Tensor],
    home: Mapping[str, Tensor],
    *,
    state: Mapping[str, Tensor],
    strength: float = 0.1,
    source: str | dict[str, Any] | None = None,
    task: dict[str, Any] | None = None,
    texts: Count = 64,
) -> tuple[Tensor, Metrics]:
    """Pulls each weight back to where it was, the more the more answers depend on it: ½ λ Σ F̂ (θ − θ⁰)².

        F = mean over `texts` y of (∂ log π(y) / ∂θ)²,   F̂ = F / mean F,   λ the `strength`

    F is taken where a weight begins to move, on text that the base writes by itself, or on batches of any `source`:
    answers to a `task`'s prompts ("groups"), given data ("demonstrations", "replay" with the old `task`). Since F̂ is
    1 on average, λ compares with that of anchor `l2`.

    Reads    what moves, its value when the stage began, and F.
    Limits   0 at home; F alike for all is `l2`; λ = 0 is no anchor.
    Fails    texts that show little of what must be kept: it is lost as without; `weight_distance` shows how far, and
             `weighed_distance` how far by F̂. Costs a pass a text, one by one, and memory as for two copies.
    Source   Kirkpatrick et al. 2017 (arXiv 1612.00796), eq. 3; on answers drawn from the model F is the Fisher
             information, on given ones its empirical form (Kunstner et al. 2019, arXiv 1905.12558).
    """
    size = sum(x.numel() for x in now.values())
    mean = sum(state[name].sum() for name in now) / size if state else 1.0
    mean = torch.as_tensor(mean).clamp(min=LEAST)
    squares = [(x - home[name]) ** 2 for name, x in now.items()]
    weights = [state[name] / mean if state else 1.0 for name in now]
    weighted = torch.stack([(w * square).sum() for w, square in zip(weights, squares, strict=True)]).sum()
    plain = torch.stack([square.detach().sum() for square in squares]).sum()
    return 0.5 * strength * weighted, {
        "weight_distance": (plain.sqrt(), 1.0),
        "weighed_distance": (weighted.detach().sqrt(), 1.0),
    }
