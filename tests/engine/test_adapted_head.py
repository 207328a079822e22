"""A head that is adapted: it is more than a matrix, so the engine goes through its own forward pass."""

from functools import partial

import pytest
import torch

import material
import tiny
from running import prepare, ran, tables
from scalpel.batch import pack
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine, Sampling
from scalpel.models.adapters import adapt
from scalpel.part import bind
from scalpel.scope import Scope, ScopeContext


def adapted() -> tuple[Engine, Scope]:
    """An engine over a model whose head and queries are adapted by something that is no longer nothing."""
    model = tiny.model(tie_word_embeddings=False)
    scope = bind("scope", "lora", targets=["q", "head"], rank=4)(model, ScopeContext(3, partial(adapt, model)))
    with torch.no_grad():
        for k, m in enumerate(scope.trainables):
            m.value.add_(0.1 * torch.randn(m.value.shape, generator=torch.Generator().manual_seed(k)))
    return Engine(model, Tokens(tiny.tokenizer())), scope


def logp(engine: Engine, batch: material.Batch) -> torch.Tensor:
    """By the model's own forward pass, one sequence at a time, on trained tokens."""
    found = []
    for s in range(batch.S):
        ids = batch.ids_N[batch.seq_N == s]
        row = engine.model(ids[None], use_cache=False).logits[0].log_softmax(-1)[:-1]
        found += [torch.zeros(1), row.gather(1, ids[1:, None])[:, 0]]
    return torch.cat(found)[batch.train_N]


def test_log_probs_and_gradients_are_those_of_the_model_s_own_logits() -> None:
    engine, scope = adapted()
    batch = pack([material.Row(range(7, 7 + n), [False] + [True] * (n - 1), [0] * n, group=n) for n in (4, 9, 6)])
    found = engine.forward(batch).logp_N[batch.train_N]
    expected = logp(engine, batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    values = [m.value for m in scope.trainables]
    ours = torch.autograd.grad((found**2).sum(), values)
    theirs = torch.autograd.grad((expected**2).sum(), values)
    assert any(
        ".lm_head." in f".{m.name}" and bool((g != 0).any()) for m, g in zip(scope.trainables, ours, strict=True)
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_samples_are_drawn_from_the_adapted_head() -> None:
    engine, scope = adapted()
    prompt = engine.tokens.prompt("ab")
    (sample,) = engine.sample([prompt], Sampling(8), 1, seed=1)[0]
    assert engine.logps([(prompt, sample.ids)])[0] == pytest.approx(sample.logp, abs=1e-4)
    before = engine.logps([(prompt, sample.ids)])[0]
    scope.fold()
    assert engine.logps([(prompt, sample.ids)])[0] == pytest.approx(before, abs=1e-4)


@pytest.mark.parametrize("method", ["sft", "grpo"])
def test_it_trains_through_a_recipe_beside_a_reference(tmp_path, method) -> None:
    at = prepare(tmp_path)
    tiny.folder(tmp_path / "untied", tie_word_embeddings=False)
    scope = {"name": "lora", "targets": ["q", "head"]}
    stage = {"method": method, "steps": 2, "scope": scope, "anchors": ["kl"]}
    after, log = ran(tables(at, stage, model={"path": str(tmp_path / "untied")}), tmp_path / "run")
    before = dict(tiny.model(tie_word_embeddings=False).named_parameters())
    moved = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert moved == {"lm_head.weight", *(f"model.layers.{k}.self_attn.q_proj.weight" for k in range(2))}
    assert log[0]["kl"] == pytest.approx(0.0, abs=1e-6) and log[1]["kl"] > 0
