"""Forgetting: the share of initially right items that are wrong after training."""

from __future__ import annotations

from scalpel.binding.bounds import Share
from scalpel.claims.quantities.measured import POINTS, Missing, by_seed, over, probe_of, quantity
from scalpel.evaluation.arm_scores import abilities, targets
from scalpel.evaluation.crossed import Estimate
from scalpel.evaluation.matched_accuracy import at_level, path
from scalpel.evaluation.results import ArmResults


@quantity("forgetting", POINTS)
def forgetting(arm: ArmResults, *, probe: str = "") -> Estimate:
    """Share lost of what the base knew: mean over old abilities, or of the named probe."""
    found = [probe_of(arm, probe)] if probe else abilities(arm)
    if not found or not all(t.before_I.any() for t in found):
        raise Missing(f"the base knows nothing of {probe or 'any old ability'} that could be lost")
    return over(arm, [(t.probe, t.lost_SK, (0.0, 1.0)) for t in found])


@quantity("forgetting-at", POINTS)
def forgetting_at(arm: ArmResults, *, accuracy: Share) -> Estimate:
    """Share lost of what the base knew, where the run first reaches that accuracy on the target."""
    asked, old = [t.probe for t in targets(arm)], [t.probe for t in abilities(arm)]
    found = [at_level(path(run, asked, old), accuracy) for run in arm.runs]
    return by_seed(arm, [c.forgetting if c else None for c in found], f"reached {accuracy:.0%} on the target")
