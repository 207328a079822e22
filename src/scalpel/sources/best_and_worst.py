"""The choice of a preference pair among the samples of a prompt."""

from collections.abc import Sequence
from typing import Literal

from scalpel.data.trajectory import Trajectory
from scalpel.rewards.scored import total
from scalpel.sources.sampled import Judged

Choose = Literal["threshold", "extremes"]


def pair_of(samples: Judged, choose: Choose, threshold: float) -> Sequence[Trajectory]:
    """A better and a worse one of the samples; none if their rewards don't differ. Samples that no reward applies to
    (NaN) are neither."""
    samples = [(sample, rewards) for sample, rewards in samples if total(rewards) == total(rewards)]
    if not samples:
        return ()
    best, worst = (by(samples, key=lambda judged: total(judged[1])) for by in (max, min))
    if choose == "extremes":
        return (best[0], worst[0]) if total(best[1]) > total(worst[1]) else ()
    right = [sample for sample, rewards in samples if total(rewards) >= threshold]
    wrong = [sample for sample, rewards in samples if total(rewards) < threshold]
    return (right[0], wrong[0]) if right and wrong else ()
