"""L2 distance of the weights from their initial values (L2-SP)."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from scalpel.part import Metrics, part


def limits() -> Iterator[tuple]:
    home = {"w": torch.tensor([1.0, 2.0], dtype=torch.float64), "v": torch.zeros(2, 2, dtype=torch.float64)}
    yield home, home, {}, 0.0
    moved = {"w": home["w"] + torch.tensor([3.0, 4.0], dtype=torch.float64), "v": home["v"]}
    yield moved, home, {"strength": 0.1}, 1.25  # ½ · 0.1 · (9 + 16)


@part("anchor", "l2", over="parameters", limits=limits)
def l2(now: Mapping[str, Tensor], home: Mapping[str, Tensor], *, strength: float = 0.01) -> tuple[Tensor, Metrics]:
    """Penalises the squared distance of each weight from its value at the start: ½ λ Σ (θ − θ⁰)², λ the `strength`.

    Unlike weight decay it regularises towards the start of the stage, not towards zero. For adapters, θ⁰ is their
    initial value, at which they don't change the output.

    Reads    the trainable parameters, and their values at the beginning of the stage.
    Limits   0 at the start; λ → ∞ freezes; λ = 0 is no anchor.
    Fails    important and unimportant weights have the same penalty; `weight_distance` is ‖θ − θ⁰‖.
    Source   Li et al. 2018 (arXiv 1802.01483), L2-SP, eq. 2.
    """
    square = torch.stack([((x - home[name]) ** 2).sum() for name, x in now.items()]).sum()
    return 0.5 * strength * square, {"weight_distance": (square.detach().sqrt(), 1.0)}
