"""Elastic weight consolidation: an L2 penalty weighted by the Fisher information."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from scalpel.anchors.context import ImportanceContext
from scalpel.binding.bounds import Count
from scalpel.part import Metrics, part

MIN_MEAN = 1e-30  # avoids 0 / 0 where the Fisher information of all weights is 0


def initial_state(**hyper: Any) -> dict[str, Tensor]:
    return {}


def with_fisher_information(
    state: Mapping[str, Tensor],
    context: ImportanceContext,
    *,
    source: str | dict[str, Any] | None,
    task: dict[str, Any] | None,
    texts: int,
    **other: Any,
) -> dict[str, Tensor]:
    """The state with the diagonal Fisher information of the weights that become trainable: F = mean over y of
    (∂ log π(y) / ∂θ)²."""
    batch = context.texts(source or {"name": "self-written", "documents": texts}, task, texts)
    found = len(torch.unique(batch.seq_N[batch.train_N]))
    if not found:
        raise ValueError(
            f"anchor 'elastic' estimates the Fisher information on texts, but source {source!r} gave none: set more "
            "`texts`, another `source` such as 'demonstrations' or none at all, or take anchor 'l2', which needs none"
        )
    return {**state, **{name: square / found for name, square in context.squares(batch).items()}}


def limits() -> Iterator[tuple]:
    home = {"w": torch.tensor([1.0, 2.0], dtype=torch.float64), "v": torch.zeros(2, 2, dtype=torch.float64)}
    yield home, home, {}, 0.0
    moved = {"w": home["w"] + torch.tensor([3.0, 4.0], dtype=torch.float64), "v": home["v"]}
    yield moved, home, {"strength": 0.1}, 1.25  # without F all weights count the same: ½ · 0.1 · (9 + 16)


@part("anchor", "elastic", over="parameters", state=initial_state, weigh=with_fisher_information, limits=limits)
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
    """Penalises each weight's distance from its start, weighted by Fisher information (EWC): ½ λ Σ F̂ (θ − θ⁰)².

        F = mean over `texts` y of (∂ log π(y) / ∂θ)²,   F̂ = F / mean F,   λ the `strength`

    F is estimated when a weight becomes trainable, on text that the base samples, or on batches of any `source`:
    answers to a `task`'s prompts ("groups"), given data ("demonstrations", "replay" with the old `task`). F̂ has mean
    1, so λ is on the scale of that of anchor `l2`.

    Reads    the trainable parameters, their values at the beginning of the stage, and F.
    Limits   0 at the start; equal F for all weights is `l2`; λ = 0 is no anchor.
    Fails    texts unlike the abilities to be retained: these are forgotten as without the anchor; `weight_distance` is
             ‖θ − θ⁰‖, `weighed_distance` the same weighted by F̂. It costs a backward pass for each text, one at a
             time, and the memory of two more copies of the trainable weights.
    Source   Kirkpatrick et al. 2017 (arXiv 1612.00796), eq. 3; on answers drawn from the model F is the Fisher
             information, on given ones its empirical form (Kunstner et al. 2019, arXiv 1905.12558).
    """
    size = sum(x.numel() for x in now.values())
    mean = sum(state[name].sum() for name in now) / size if state else 1.0
    mean = torch.as_tensor(mean).clamp(min=MIN_MEAN)
    squares = [(x - home[name]) ** 2 for name, x in now.items()]
    weights = [state[name] / mean if state else 1.0 for name in now]
    weighted = torch.stack([(w * square).sum() for w, square in zip(weights, squares, strict=True)]).sum()
    plain = torch.stack([square.detach().sum() for square in squares]).sum()
    return 0.5 * strength * weighted, {
        "weight_distance": (plain.sqrt(), 1.0),
        "weighed_distance": (weighted.detach().sqrt(), 1.0),
    }
