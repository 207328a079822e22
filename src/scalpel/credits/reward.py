"""The reward without a baseline."""

from collections.abc import Iterator

from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case


def limits() -> Iterator[tuple]:
    yield *case([[-1.0], [-1.0, -1.0]], reward=[2.0, 0.0]), {}, [2.0, 0.0, 0.0]
    yield *case([[-1.0]], reward=[float("nan")]), {}, [0.0]  # does not apply


@part("credit", "reward", reads={"reward"}, limits=limits)
def reward(out: Out, batch: Batch) -> Tensor:
    """Weighs a sample by its reward, without a baseline (REINFORCE): credit_t = r_i for all tokens of sample i.

    Reads    reward_S.
    Limits   rewards of 0 and 1 with `nll`: rejection sampling, that is imitation of the correct samples.
    Fails    high variance; rewards that are never negative make every sample more likely.
    Source   Williams 1992 (Machine Learning 8, 229-256), section 5, episodic REINFORCE.
    """
    return batch.broadcast(batch.reward_S)
