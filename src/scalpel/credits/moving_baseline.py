"""The reward of recent steps as baseline."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case


def nothing(*, memory: float) -> dict[str, float]:
    if not 0 <= memory < 1:
        raise ValueError(
            f"credit 'moving-baseline' has memory {memory}: give a share of what was known in 0 … 1, below 1, since at "
            "1 no step is ever taken up; for no baseline at all take credit 'reward'"
        )
    return {"reward": 0.0, "weight": 0.0}


def followed(state: Mapping[str, float], seen: Mapping[str, float], batch: Batch, *, memory: float) -> dict[str, float]:
    """The sums of an exponential average, so that the first steps count in full."""
    if "reward" not in seen:
        return dict(state)
    return {
        "reward": memory * state["reward"] + (1 - memory) * seen["reward"],
        "weight": memory * state["weight"] + (1 - memory),
    }


def limits() -> Iterator[tuple]:
    yield *case([[-1.0], [-1.0, -1.0]], reward=[2.0, 0.0]), {}, [2.0, 0.0, 0.0]  # before any step: the plain reward


@part("credit", "moving-baseline", reads={"reward"}, state=nothing, follow=followed, limits=limits)
def moving_baseline(out: Out, batch: Batch, *, state: Mapping[str, float], memory: float = 0.9) -> Tensor:
    """A sample's reward less what samples got in recent steps: Â_i = r_i − b, b ← memory·b + (1 − memory)·mean r.

    It needs no group: one sample a prompt will do. b is corrected for its start, so that after the first step it is
    that step's mean; in the first step it is 0.

    Reads    reward_S; the mean rewards of earlier steps.
    Limits   before any step, or with rewards that average 0, it is `reward`.
    Fails    prompts of unlike difficulty: the easy ones are always above b, the hard ones below; take groups.
    Source   Williams 1992 (Machine Learning 8, 229-256), section 4, reinforcement comparison.
    """
    baseline = state["reward"] / state["weight"] if state["weight"] else 0.0
    return batch.spread(batch.reward_S - baseline)
