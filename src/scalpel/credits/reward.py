"""The plain reward."""

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
    """A sample's own reward, without a baseline: credit_t = r_i for all tokens of sample i.

    Reads    reward_S.
    Limits   rewards of 0 and 1 with `nll`: imitation of what was right.
    Fails    high variance; rewards that are never negative push up everything that was sampled.
    Source   Williams 1992 (Machine Learning 8, 229-256), section 5, episodic REINFORCE.
    """
    return batch.spread(batch.reward_S)
