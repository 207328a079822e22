"""Quantities of one probe: shares right, and values in the probe's own unit."""

from __future__ import annotations

import numpy as np

from scalpel.claims.quantities.measured import PERCENT, POINTS, UNBOUNDED, by_seed, items_of, over, probe_of, quantity
from scalpel.evaluation.arm_scores import targets
from scalpel.evaluation.crossed import Estimate
from scalpel.evaluation.ledger import Ledger
from scalpel.evaluation.results import ArmResults


@quantity("gain", POINTS)
def gain(arm: ArmResults, *, probe: str = "") -> Estimate:
    """Share right after − before, of the target or of the named probe."""
    found = [probe_of(arm, probe)] if probe else targets(arm)
    return over(arm, [(items_of(t), t.change_SI, (-1.0, 1.0)) for t in found])


@quantity("accuracy", POINTS)
def accuracy(arm: ArmResults, *, probe: str) -> Estimate:
    """Share right after training."""
    table = probe_of(arm, probe)
    return over(arm, [(items_of(table), table.after_SI, (0.0, 1.0))])


@quantity("gap", POINTS)
def gap(arm: ArmResults, *, probe: str, far: str) -> Estimate:
    """Share right after training on `probe`, less that on `far`: what a shift of the questions costs."""
    return accuracy(arm, probe=probe).minus(accuracy(arm, probe=far))


@quantity("value", "")
def value(arm: ArmResults, *, probe: str) -> Estimate:
    """Mean value after training, in the probe's own unit."""
    table = probe_of(arm, probe, judged=False)
    return over(arm, [(items_of(table), table.value_after_SI, UNBOUNDED)])


@quantity("before", "")
def before(arm: ArmResults, *, probe: str) -> Estimate:
    """Mean value of the base, in the probe's own unit: the same in all seeds."""
    table = probe_of(arm, probe, judged=False)
    return over(arm, [(items_of(table), np.tile(table.value_before_I, (len(arm.runs), 1)), UNBOUNDED)])


@quantity("change", "")
def change(arm: ArmResults, *, probe: str) -> Estimate:
    """Mean value after training − before, in the probe's own unit."""
    table = probe_of(arm, probe, judged=False)
    return over(arm, [(items_of(table), table.value_change_SI, UNBOUNDED)])


@quantity("relative", PERCENT)
def relative(arm: ArmResults, *, probe: str) -> Estimate:
    """Mean value after training ÷ the base's, seed by seed: an entropy or a diversity of 50% is half of the base's. A
    model of characters has another entropy than one of words, so only the ratio can be compared with a paper's."""
    return by_seed(arm, [ratio(run.ledgers[probe]) for run in arm.runs], "measured, and not zero before,")


def ratio(ledger: Ledger) -> float | None:
    pairs = [
        (e.logp_before, e.logp_after) for e in ledger.entries if e.logp_before is not None and e.logp_after is not None
    ]
    before, after = (sum(values) for values in zip(*pairs, strict=True)) if pairs else (0.0, 0.0)
    return after / before if before else None


@quantity("lock-in", POINTS)
def lock_in(arm: ArmResults, *, probe: str) -> Estimate:
    """max(p, 1 − p) of a share p, seed by seed: how far a run has settled on one of two ways, whichever it is."""
    shares = probe_of(arm, probe, judged=False).value_after_SI.mean(axis=1)
    return by_seed(arm, np.maximum(shares, 1 - shares).tolist(), "measured")
