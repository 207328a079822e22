"""The relative change of the weights, as a Frobenius norm."""

from __future__ import annotations

from collections.abc import Sequence

from scalpel.claims.quantities.measured import PERCENT, by_seed, quantity
from scalpel.evaluation.crossed import Estimate
from scalpel.evaluation.results import ArmResults, RunResults
from scalpel.registry import unknown


@quantity("moved", PERCENT)
def moved(arm: ArmResults, *, components: Sequence[str] = (), layers: Sequence[str] = ()) -> Estimate:
    """‖tuned − base‖ / ‖base‖: over all weights, or the mean over these components in these layers."""
    return by_seed(arm, [moved_in(run, components, layers) for run in arm.runs], "weight change is known")


def moved_in(run: RunResults, components: Sequence[str], layers: Sequence[str]) -> float | None:
    table = run.summary.get("weights")
    if table is None:
        return None
    if not components and not layers:
        return float(table["total"]["relative"])
    for kind, asked in (("components", components), ("layers", layers)):
        for name in asked:
            if name not in table[kind]:
                raise ValueError(unknown(kind.removesuffix("s"), name, table[kind]))
    cells = [
        cell
        for component, row in zip(table["components"], table["relative"], strict=True)
        for layer, cell in zip(table["layers"], row, strict=True)
        if cell is not None and (not components or component in components) and (not layers or layer in layers)
    ]
    return sum(cells) / len(cells) if cells else None
