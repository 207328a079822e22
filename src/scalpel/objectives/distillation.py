"""Distillation from a teacher's whole distribution."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from scalpel.batch import Batch
from scalpel.binding.bounds import Positive
from scalpel.part import HeadTerm, Metrics, Need, Out, mean_of, part
from scalpel.worked_cases import case


def term(temperature: float) -> HeadTerm:
    return HeadTerm("forward_kl", "teacher", (("temperature", temperature),))


def needs(temperature: float = 1.0, **other: Any) -> set[Need]:
    return {term(temperature)}


def limits() -> Iterator[tuple]:
    yield *case([[-1.0] * 3], terms={term(1.0): [[0.0, 0.0, 0.0]]}), {}, 0.0  # student = teacher
    yield *case([[-1.0] * 3], terms={term(2.0): [[0.5, 1.0, 0.0]]}), {"temperature": 2.0}, 0.5
    yield *case([[-1.0] * 2], terms={term(1.0): [[0.5, 1.0]]}, credit=[[0.0, 1.0]]), {}, 0.5


@part("objective", "distillation", needs=needs, by_credit="token", limits=limits)
def distillation(out: Out, batch: Batch, *, temperature: Positive = 1.0) -> tuple[Tensor, Metrics]:
    """Matches the student's distribution over the vocabulary to the teacher's at each token (knowledge distillation).

        L = T² Σ_t c_t · KL(q_t^(1/T) ‖ p_t^(1/T)),   q the teacher, p the student, over the whole vocabulary

    The factor T² keeps the size of the gradient independent of the temperature; the head term holds it.

    Reads    the head term forward_kl against role `teacher`; credit.
    Limits   0 where the student equals the teacher; T → ∞ matches logits. A one-hot teacher makes it `nll`.
    Fails    a teacher that can't solve the task: `divergence` falls and accuracy doesn't rise.
    Source   Hinton et al. 2015 (arXiv 1503.02531), section 2.
    """
    assert batch.credit_N is not None
    divergence_N = out.terms[term(temperature)]
    return (batch.credit_N * divergence_N).sum(), {"divergence": mean_of(divergence_N, batch.train_N)}
