"""Divergences from the reference beside their formulas on whole logits, on answers of one to nine tokens."""

import pytest
import torch

import material
import tiny
from formula_parity import agree, logits_of, rows, stream_of


@pytest.mark.parametrize("average", ["token", "sequence"])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "k3-forward", "exact-reverse", "exact-forward"])
def test_each_divergence_and_its_gradient_are_those_of_the_formula(estimator: str, average: str) -> None:
    engine = material.engine(seed=0, reference=1)
    anchor = dict(name="kl", estimator=estimator, beta=0.3, average=average)
    stream = stream_of(signals=[{"source": "demonstrations"}], anchors=[anchor])
    batch = stream.source(material.context(engine))
    model = tiny.model(seed=0)
    logits_nV, target_n = logits_of(model, batch)
    p_nV, q_nV = logits_nV.log_softmax(-1), logits_of(tiny.model(seed=1), batch)[0].detach().log_softmax(-1)
    d_n = (p_nV - q_nV).gather(1, target_n[:, None])[:, 0]
    each_n = {
        "k1": d_n,
        "k2": d_n**2 / 2,
        "k3": (-d_n).exp() - 1 + d_n,
        "k3-forward": d_n.exp() - 1 - d_n,
        "exact-reverse": (p_nV.exp() * (p_nV - q_nV)).sum(-1),
        "exact-forward": (q_nV.exp() * (q_nV - p_nV)).sum(-1),
    }[estimator]
    lengths = [len(completion) for _, completion in rows(batch)]
    assert len(set(lengths)) == batch.S
    held = [y.mean() for y in each_n.split(lengths)] if average == "sequence" else list(each_n)
    agree(engine, stream, batch, 2, 0.3 * torch.stack(held).mean(), model)


def test_the_divergence_from_the_base_is_not_that_from_the_reference() -> None:
    engine = material.engine(seed=0, reference=1, base=2)
    anchor = dict(name="kl", estimator="exact-forward", beta=0.3, to="base")
    stream = stream_of(signals=[{"source": "demonstrations"}], anchors=[anchor])
    batch = stream.source(material.context(engine))
    model = tiny.model(seed=0)
    p_nV = logits_of(model, batch)[0].log_softmax(-1)
    q_nV = logits_of(tiny.model(seed=2), batch)[0].detach().log_softmax(-1)
    agree(engine, stream, batch, 2, 0.3 * (q_nV.exp() * (q_nV - p_nV)).sum(-1).mean(), model)


def test_an_estimate_from_log_probs_of_the_reference_cannot_hold_to_the_base() -> None:
    with pytest.raises(ValueError, match="divergence from the base with estimator k3.* exact-reverse or exact-forward"):
        stream_of(signals=[{"source": "demonstrations"}], anchors=[dict(name="kl", estimator="k3", to="base")])
