"""A gate on the author of a token."""

from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from scalpel.batch import DEMONSTRATION, POLICY, Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case

Author = Literal["policy", "demonstration"]
AUTHORS = {"policy": POLICY, "demonstration": DEMONSTRATION}


def reads(author: Author = "policy") -> set[str]:
    return {"demonstration"} if author == "demonstration" else set()


def limits() -> Iterator[tuple]:
    d, p = DEMONSTRATION, POLICY
    made = case([[-1.0, -2.0], [-3.0]], author=[[d, p], [p]])
    yield *made, {}, [0.0, 1.0, 1.0]
    yield *made, {"author": "demonstration"}, [1.0, 0.0, 0.0]


@part("credit", "written-by", reads=reads, limits=limits)
def written_by(out: Out, batch: Batch, *, author: Author = "policy") -> Tensor:
    """Gates tokens by their author: credit_t = 1 if author(t) = `author`, else 0.

    With it several signals share a batch of samples and demonstrations, each with its own objective.

    Reads    author_N.
    Limits   the gates of all authors add up to `constant`; if one author wrote everything, its gate is `constant`.
    Fails    an author without tokens: `tokens_left_out_share` is 1 and no parameter changes.
    Source   Yan et al. 2025 (arXiv 2504.14945), section 3.1, eq. 5: a sum over own tokens, one over demonstrated.
    """
    return (batch.author_N == AUTHORS[author]).to(out.logp_N.dtype)
