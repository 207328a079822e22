"""The entropy bonus."""

from collections.abc import Iterator

from torch import Tensor

from scalpel.batch import DEMONSTRATION, POLICY, Batch
from scalpel.objectives.loss_average import Per, token_count
from scalpel.part import Metrics, Out, mean_of, part
from scalpel.worked_cases import case


def limits() -> Iterator[tuple]:
    yield *case([[-1.0, -2.0]], entropy=[[0.0, 0.0]]), {}, 0.0  # a deterministic policy
    yield *case([[-1.0, -2.0], [-3.0]], entropy=[[0.5, 1.0], [0.3]]), {}, -0.6  # (0.5 + 1 + 0.3) / 3
    yield *case([[-1.0, -2.0]], entropy=[[0.5, 1.0]], credit=[[0.0, 1.0]]), {}, -0.5
    two = case([[-1.0, -2.0]], entropy=[[0.5, 1.0]], credit=[[0.0, 1.0]], author=[[DEMONSTRATION, POLICY]])
    yield *two, {"per": "policy"}, -1.0  # 1 / 1


@part("objective", "entropy", needs={"entropy"}, count=token_count, by_credit="token", limits=limits)
def entropy(out: Out, batch: Batch, *, per: Per = "all") -> tuple[Tensor, Metrics]:
    """Keeps exploration up with an entropy bonus: L = −Σ_t c_t · H(π(· | y_<t)), over the number of trained tokens.

    It is a signal without a source, after the one whose samples it reads: {objective = "entropy", weight = 0.001}. The
    weight is the entropy coefficient. Where samples and demonstrations share a batch, `per` divides by the tokens of
    one author; give the credit `written-by` for the same author beside it.

    Reads    entropy, credit.
    Limits   0 for a deterministic policy; the gradient vanishes on a uniform one.
    Fails    weight too high: `entropy` grows along the run and samples turn to noise; too low: entropy collapses to 0
             and the samples of a group become equal.
    Source   Williams and Peng 1991, Connection Science 3, 241-268; beside a clipped ratio Schulman et al. 2017
             (arXiv 1707.06347), eq. 9.
    """
    assert out.entropy_N is not None and batch.credit_N is not None
    return -(batch.credit_N * out.entropy_N).sum(), {"entropy": mean_of(out.entropy_N, batch.train_N)}
