"""A filter for tokens of high entropy."""

from collections.abc import Iterator

from torch import Tensor

from scalpel.batch import Batch
from scalpel.binding.bounds import Share
from scalpel.part import Out, part
from scalpel.worked_cases import case

EQUAL = 1e-4  # nats; entropies that differ by less are ties


def threshold(entropy_N: Tensor, among_N: Tensor, share: float) -> Tensor:
    """The lowest entropy within the top `share` of these tokens (at least one token). Ties are all included: the
    samples of a prompt have equal entropy at their first token, and rounding must not choose among them."""
    entropy_n = entropy_N[among_N]
    if not len(entropy_n):
        return entropy_N.new_tensor(float("inf"))
    k = min(len(entropy_n), max(1, round(share * len(entropy_n))))
    return entropy_n.topk(k).values[-1] - EQUAL


def over_step(out: Out, batch: Batch, *, share: float) -> Tensor:
    assert out.entropy_N is not None
    return threshold(out.entropy_N, batch.train_N, share)


def limits() -> Iterator[tuple]:
    made = case([[-1.0] * 4, [-1.0]], entropy=[[0.1, 0.9, 0.2, 0.3], [0.8]])
    yield *made, {"share": 0.4}, [0.0, 1.0, 0.0, 0.0, 1.0]  # 2 of 5, from both sequences
    yield *made, {"share": 1.0}, [1.0] * 5


@part("credit", "top-entropy", needs={"entropy"}, couples="step", statistic=over_step, limits=limits)
def top_entropy(out: Out, batch: Batch, *, stat: Tensor, share: Share = 0.2) -> Tensor:
    """Trains only on the `share` of tokens with the highest entropy: credit_t = 1 if H_t ≥ τ, else 0.

    τ is the quantile of the entropies of all trained tokens of the step. The objective still divides by all tokens.

    Reads    entropy.
    Limits   share 1 is `constant`.
    Fails    entropy rises without bound, or the selected tokens are formatting, not decisions: watch `entropy`.
    Source   Wang et al. 2025 (arXiv 2506.01939), section 5.1, eq. 6; there divided by the selected tokens.
    """
    assert out.entropy_N is not None
    return (out.entropy_N >= stat.to(out.entropy_N)).to(out.logp_N.dtype)
