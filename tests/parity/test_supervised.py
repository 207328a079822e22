"""Supervised rows that TRL doesn't have, beside the formula in plain torch."""

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

import material
import tiny
from formula_parity import agree, logits_of, stream_of


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_distillation_is_the_divergence_of_the_softened_distributions(temperature: float, pieces: int) -> None:
    engine = material.engine(seed=0, teacher=1)
    stream = stream_of(method="distill", signals={"0": {"objective": {"temperature": temperature}}})
    batch = stream.source(material.context(engine))
    student, teacher = tiny.model(seed=0), tiny.model(seed=1)
    z_nV, _ = logits_of(student, batch)
    with torch.no_grad():
        q_nV = (logits_of(teacher, batch)[0] / temperature).log_softmax(-1)
    divergence = kl_div((z_nV / temperature).log_softmax(-1), q_nV, log_target=True, reduction="batchmean")
    agree(engine, stream, batch, pieces, temperature**2 * divergence, student)


@pytest.mark.parametrize("pieces", [1, 2])
def test_masked_thought_is_cross_entropy_behind_an_answer_with_holes(pieces: int) -> None:
    engine = material.engine(seed=0)
    stream = stream_of(method="masked-thought")
    rates = [stream.corrupt[0].at(progress)["rate"] for progress in (0.0, 0.33, 0.66, 0.9)]
    assert rates == pytest.approx([0.0, 0.2, 0.4, 0.4])
    batch = stream.corrupt[0](stream.source(material.context(engine)), mask_id=6, seed=1, progress=1.0)
    hidden_N = batch.input_N != batch.ids_N
    assert bool(hidden_N.any()) and bool((batch.input_N[hidden_N] == 6).all())
    policy = tiny.model(seed=0)
    agree(engine, stream, batch, pieces, cross_entropy(*logits_of(policy, batch)), policy)
