"""What a run recorded of its training: its cost, and the metrics of its steps."""

from __future__ import annotations

from scalpel.claims.quantities.measured import by_seed, quantity
from scalpel.evaluation.crossed import Estimate
from scalpel.evaluation.results import ArmResults, RunResults
from scalpel.registry import unknown


@quantity("cost", "")
def cost(arm: ArmResults, *, of: str = "flops") -> Estimate:
    """What training spent: flops, seconds, tokens_trained, tokens_sampled or peak_memory_bytes."""
    known = arm.runs[0].summary.get("cost", {})
    if of not in known:
        raise ValueError(unknown("cost", of, known))
    return by_seed(arm, [run.summary.get("cost", {}).get(of) for run in arm.runs], f"{of} known")


@quantity("logged", "")
def logged(arm: ArmResults, *, name: str, last: float = 0.1) -> Estimate:
    """Mean of a metric over the last share of the steps; steps that did not log it are left out."""
    if not 0 < last <= 1:
        raise ValueError(f"last = {last}: it is a share of the steps, above 0 and at most 1")
    return by_seed(arm, [mean_of_last(run, name, last) for run in arm.runs], f"{name} logged")


def mean_of_last(run: RunResults, name: str, last: float) -> float | None:
    n = max(1, round(last * len(run.train)))
    values = [line[name] for line in run.train[-n:] if name in line]
    return sum(values) / len(values) if values else None
