"""Rows of revision beside the same arithmetic on the logits of an ordinary forward pass: loss and gradients."""

from math import exp
from typing import Any

import pytest
import torch

import material
import tiny
from scalpel.batch import Batch
from scalpel.config.merge import merge
from scalpel.config.plan import Stream, assemble
from scalpel.config.recipe import parse
from scalpel.methods import ROWS
from scalpel.training.step import StepMetrics, backward


def stream_of(method: str, source: dict[str, Any]) -> Stream:
    """The flow of a row's own stage, its source changed."""
    stage = merge(ROWS[method].stage, {"signals": {"0": {"source": source}}})
    recipe = parse({"model": "m", "task": {"name": "t"}, "train": stage})
    return assemble(recipe.stages[0], recipe).streams[0]


def plainly(batch: Batch, weight_S: list[float], by_row: bool) -> tuple[float, dict[str, torch.Tensor]]:
    """Σ_s w_s · Σ_t −log softmax(logits)[y_t] over the trained tokens, by their number; a row at a time. `by_row`: the
    mean over rows of w_s times the row's own mean, which is what RISE's trainer takes of rows one by one."""
    model = tiny.model(seed=0)
    total = torch.zeros(())
    for s in range(batch.S):
        ids, train = batch.ids_N[batch.seq_N == s], batch.train_N[batch.seq_N == s]
        logp_TV = model(input_ids=ids[None]).logits[0].log_softmax(-1)
        logp_T = logp_TV[:-1].gather(1, ids[1:, None])[:, 0]
        trained = logp_T[train[1:]]
        total = total - weight_S[s] * (trained.mean() if by_row else trained.sum())
    loss = total / (batch.S if by_row else float(batch.train_N.sum()))
    loss.backward()
    return float(loss.detach()), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


CASES = [
    ("leti", {"size": 4}),
    ("rise", {"sizes": [1, 3]}),
    ("eef", {"imitate": False}),
    ("int", {"locate": "tried", "hard": 1.0, "tries": 4, "boundary": ""}),
]


@pytest.mark.parametrize(("method", "source"), CASES, ids=lambda x: x if isinstance(x, str) else "")
@pytest.mark.parametrize("pieces", [1, 3])
def test_loss_and_gradients_are_those_of_weighted_likelihood_on_the_rows(method, source, pieces):
    engine = material.engine(seed=0, reference=0)
    stream = stream_of(method, source)
    batch = stream.source(material.uneven(material.context(engine)))
    assert len(batch.length_S.unique()) >= 2 and (method != "rise" or len(batch.reward_S.unique()) == 2)
    weight_S = [exp(r / 0.4) if method == "rise" else 1.0 for r in batch.reward_S.tolist()]
    loss = backward(engine, stream, batch, 0.0, pieces, StepMetrics())
    expected, gradients = plainly(batch, weight_S, method == "rise")
    assert loss == pytest.approx(expected, rel=1e-5)
    found = {name: p.grad for name, p in engine.model.named_parameters() if p.grad is not None}
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_the_conversations_of_a_round_of_rise_are_those_of_the_model_that_it_starts_with():
    assert ROWS["rise"].stage["reference"] == "start"
    wrote = []
    for policy in (0, 2):  # which has moved in between
        engine = material.engine(seed=policy, reference=1)
        batch = stream_of("rise", {"sizes": [1, 3]}).source(material.uneven(material.context(engine)))
        wrote.append(batch.ids_N.tolist())
    assert wrote[0] == wrote[1]
    live = stream_of("rise", {"sizes": [1, 3], "writer": "policy"}).source(material.uneven(material.context(engine)))
    assert live.ids_N.tolist() != wrote[0]
