"""Distance of the weights from where they started."""

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
    """Pulls each weight back to where it was: ½ λ Σ (θ − θ⁰)², λ the `strength`.

    Unlike weight decay it pulls to the base and not to zero. For adapters, home is where they began, which is
    no change at all.

    Reads    what moves, and its value when the stage began.
    Limits   0 at home; λ → ∞ freezes; λ = 0 is no anchor.
    Fails    all weights are held alike, those that matter and those that don't; `weight_distance` shows how far.
    Source   Li et al. 2018 (arXiv 1802.01483), L2-SP, eq. 2.
    """
    square = torch.stack([((x - home[name]) ** 2).sum() for name, x in now.items()]).sum()
    return 0.5 * strength * square, {"weight_distance": (square.detach().sqrt(), 1.0)}
