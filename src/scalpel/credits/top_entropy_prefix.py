"""A filter for the tokens of a demonstration with high entropy."""

from collections.abc import Iterator

from torch import Tensor

from scalpel.batch import DEMONSTRATION, POLICY, Batch
from scalpel.binding.bounds import Share
from scalpel.credits.top_entropy import threshold
from scalpel.part import Out, part
from scalpel.worked_cases import case


def demonstrated(batch: Batch) -> Tensor:
    return batch.train_N & (batch.author_N == DEMONSTRATION)


def over_step(out: Out, batch: Batch, *, share: float) -> Tensor:
    assert out.entropy_N is not None
    return threshold(out.entropy_N, demonstrated(batch), share)


def limits() -> Iterator[tuple]:
    d, p = DEMONSTRATION, POLICY
    made = case([[-1.0] * 4, [-1.0] * 2], entropy=[[0.1, 0.9, 0.2, 0.0], [0.3, 0.8]], author=[[d, d, d, p], [d, p]])
    yield *made, {"share": 0.25}, [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]  # 1 of 4 prefix tokens, and the policy's own
    yield *made, {"share": 1.0}, [1.0] * 6


@part(
    "credit",
    "top-entropy-prefix",
    needs={"entropy"},
    reads={"demonstration"},
    couples="step",
    statistic=over_step,
    limits=limits,
)
def top_entropy_prefix(out: Out, batch: Batch, *, stat: Tensor, share: Share = 0.2) -> Tensor:
    """Trains on the `share` of demonstrated tokens with the highest entropy, and on all tokens of the policy's own.

        credit_t = 1 if t is the policy's own or H_t ≥ τ, else 0;   τ the quantile over the step's demonstrated tokens

    So the many demonstrated tokens that the context already determines don't dominate the few decisive ones.

    Reads    entropy, author_N.
    Limits   share 1, or no demonstrated tokens, is `constant`.
    Fails    share too small: demonstrations teach nothing while own samples still fail.
    Source   Huang et al. 2025 (arXiv 2507.01679), section 3 and appendix A.4, entropy-based clipping.
    """
    assert out.entropy_N is not None
    return (~demonstrated(batch) | (out.entropy_N >= stat.to(out.entropy_N))).to(out.logp_N.dtype)
