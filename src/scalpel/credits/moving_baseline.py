"""An exponential moving average of the reward as baseline."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case


def initial_state(*, memory: float) -> dict[str, float]:
    if not 0 <= memory < 1:
        raise ValueError(
            f"credit 'moving-baseline' has memory {memory}, but it is the decay of an exponential moving average: set "
            "0 or more and below 1, since at 1 the average never changes; for no baseline take credit 'reward'"
        )
    return {"reward": 0.0, "weight": 0.0}


def updated_state(
    state: Mapping[str, float], seen: Mapping[str, float], batch: Batch, *, memory: float
) -> dict[str, float]:
    """The weighted sum and the sum of weights. Their ratio is the bias-corrected average, as in Adam: without the
    correction the baseline of the first steps would lie near its initial 0."""
    if "reward" not in seen:
        return dict(state)
    return {
        "reward": memory * state["reward"] + (1 - memory) * seen["reward"],
        "weight": memory * state["weight"] + (1 - memory),
    }


def limits() -> Iterator[tuple]:
    yield *case([[-1.0], [-1.0, -1.0]], reward=[2.0, 0.0]), {}, [2.0, 0.0, 0.0]  # before any step: the plain reward


@part("credit", "moving-baseline", reads={"reward"}, state=initial_state, follow=updated_state, limits=limits)
def moving_baseline(out: Out, batch: Batch, *, state: Mapping[str, float], memory: float = 0.9) -> Tensor:
    """Subtracts a moving average of the mean reward: Â_i = r_i − b, b ← memory·b + (1 − memory)·mean r.

    It needs no group: one sample a prompt is enough. b is bias-corrected, so that after the first step it is that
    step's mean; in the first step it is 0.

    Reads    reward_S; the mean rewards of earlier steps.
    Limits   before any step, or with rewards that average 0, it is `reward`.
    Fails    prompts that differ in difficulty: easy ones always lie above b, hard ones below it; take a group baseline.
    Source   Williams 1992 (Machine Learning 8, 229-256), section 4, reinforcement comparison.
    """
    baseline = state["reward"] / state["weight"] if state["weight"] else 0.0
    return batch.broadcast(batch.reward_S - baseline)
