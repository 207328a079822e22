"""What the engine computes is what the model itself would, whatever the packing."""

from dataclasses import replace

import pytest
import torch

import tiny
from scalpel.batch import DEMONSTRATION, Row, pack
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine
from scalpel.engine.head_sizes import HeadSizes
from scalpel.part import HeadTerm

NEEDS = {"logp", "entropy", "argmax", HeadTerm("reverse_kl", "reference"), HeadTerm("forward_kl", "reference")}
KINDS = sorted(tiny.SHAPES)
CAPPED = {"gemma2": {"final_logit_softcapping": 5.0, "attn_logit_softcapping": 10.0}}


def engine(kind: str = "llama", **more) -> Engine:
    changes = CAPPED.get(kind, {})
    reference = tiny.model(kind, seed=1, **changes)
    return Engine(tiny.model(kind, **changes), Tokens(tiny.tokenizer()), others={"reference": reference}, **more)


def rows(seed: int = 0, lengths=(5, 40, 1, 23, 2)) -> list[Row]:
    """Sequences of random tokens, the longest beyond the sliding window; two in three tokens are trained."""
    g = torch.Generator().manual_seed(seed)
    made = []
    for k, n in enumerate(lengths):
        ids = torch.randint(7, 263, (n,), generator=g).tolist()
        made.append(Row(ids, (torch.rand(n, generator=g) < 0.67).tolist(), [DEMONSTRATION] * n, group=k))
    return made


def plainly(model, row: Row) -> torch.Tensor:
    """Log-probabilities [tokens, V] of a sequence alone, by the model's own forward pass; the first row is none."""
    logits = model(torch.tensor([row.ids]), use_cache=False).logits[0]
    return torch.cat([torch.zeros(1, logits.shape[1]), logits.log_softmax(-1)[:-1]])


@pytest.mark.parametrize("kind", KINDS)
def test_every_output_is_that_of_the_models_own_logits(kind):
    e, laid = engine(kind), rows()
    out = e.score(pack(laid), needs=NEEDS)
    with torch.no_grad():
        p = torch.cat([plainly(e.model, row) for row in laid])
        q = torch.cat([plainly(e.others["reference"].transformer, row) for row in laid])
    batch = pack(laid)
    on = batch.train_N
    assert 0 < int(on.sum()) < batch.N
    expected = p.gather(1, batch.ids_N[:, None])[:, 0]
    torch.testing.assert_close(out.logp_N[on], expected[on], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(out.entropy_N[on], -(p.exp() * p).sum(-1)[on], atol=2e-5, rtol=1e-5)
    assert torch.equal(out.argmax_N[on], p.argmax(-1)[on])
    reverse, ahead = out.terms[HeadTerm("reverse_kl", "reference")], out.terms[HeadTerm("forward_kl", "reference")]
    torch.testing.assert_close(reverse[on], (p.exp() * (p - q)).sum(-1)[on], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(ahead[on], (q.exp() * (q - p)).sum(-1)[on], atol=2e-5, rtol=1e-4)
    for x in (out.logp_N, out.entropy_N, reverse, ahead):
        assert not x[~on].any()


def gradients(model) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_same_gradients(a, b, tolerance=1e-5):
    assert a.keys() == b.keys() and a
    for name in a:
        size = float(a[name].abs().max()) + 1e-8
        assert float((a[name] - b[name]).abs().max()) <= tolerance * size + 1e-8, name


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_models_own_logits(kind):
    e, laid = engine(kind), rows()
    batch = pack(laid)
    out = e.forward(batch, NEEDS)
    weight_N = torch.linspace(-1, 1, batch.N)
    ((out.logp_N * weight_N).sum() + out.entropy_N.sum()).backward()
    ours = gradients(e.model)
    p = torch.cat([plainly(e.model, row) for row in laid])
    logp = p.gather(1, batch.ids_N[:, None])[:, 0]
    entropy = -(p.exp() * p).sum(-1)
    torch.where(batch.train_N, logp * weight_N + entropy, 0.0).sum().backward()
    assert_same_gradients(gradients(e.model), ours, 1e-4)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
def test_the_head_in_checkpointed_chunks_is_the_head_at_once(kind):
    e, batch = engine(kind), pack(rows())
    found = []
    for chunk in (4, 10_000):
        e.head_sizes = HeadSizes(plain_chunk=chunk)
        out = e.forward(batch, NEEDS)
        loss = out.logp_N.sum() + 2 * out.entropy_N.sum() + out.terms[HeadTerm("reverse_kl", "reference")].sum()
        loss.backward()
        found.append((out, gradients(e.model)))
    (a, grad_a), (b, grad_b) = found
    torch.testing.assert_close(a.logp_N, b.logp_N, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(a.entropy_N, b.entropy_N, atol=1e-6, rtol=1e-6)
    assert torch.equal(a.argmax_N, b.argmax_N)
    assert_same_gradients(grad_a, grad_b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("micro_tokens", [1, 48, 100_000])
def test_neither_packing_nor_order_changes_a_sequence(kind, micro_tokens):
    e, batch = engine(kind, micro_tokens=micro_tokens), pack(rows())
    order = torch.tensor([3, 0, 4, 2, 1])
    turned = batch.pick(order)
    a, b = e.score(batch, needs=NEEDS), e.score(turned, needs=NEEDS)
    token_n = torch.cat([(batch.seq_N == s).nonzero()[:, 0] for s in order])
    torch.testing.assert_close(a.logp_N[token_n], b.logp_N, atol=5e-6, rtol=1e-5)
    torch.testing.assert_close(a.entropy_N[token_n], b.entropy_N, atol=5e-6, rtol=1e-5)
    alone = torch.cat([e.score(pack([row])).logp_N for row in rows()])
    torch.testing.assert_close(a.logp_N, alone, atol=5e-6, rtol=1e-5)


def test_what_is_shown_may_differ_from_what_is_asked_for():
    e, row = engine(), rows()[1]
    batch = pack([row])
    shown = batch.input_N.clone()
    shown[3] = 6
    out = e.score(replace(batch, input_N=shown))
    with torch.no_grad():
        logits = e.model(shown[None], use_cache=False).logits[0].log_softmax(-1)
    expected = logits[:-1].gather(1, batch.ids_N[1:, None])[:, 0]
    on = batch.train_N[1:]
    torch.testing.assert_close(out.logp_N[1:][on], expected[on], atol=2e-5, rtol=1e-5)


def test_a_value_head_reads_the_state_before_each_token():
    e, batch = engine(), pack(rows(lengths=(6,)))
    e.owned["value"] = torch.nn.Linear(16, 1)
    out = e.score(batch, needs={"value"})
    with torch.no_grad():
        hidden = e.model.base_model(batch.ids_N[None]).last_hidden_state[0]
        expected = e.owned["value"](hidden)[:-1]
    on = batch.train_N[1:]
    torch.testing.assert_close(out.value_NK[1:][on], expected[on], atol=1e-6, rtol=1e-5)
    assert not out.value_NK[~batch.train_N].any()


def test_nothing_trained_gives_zeros_for_all_that_is_named():
    e = engine()
    for batch in (pack([]), pack([Row([1, 2], [False, False], [0, 0])])):
        out = e.score(batch, needs=NEEDS | {"value"})
        assert out.logp_N.shape == (batch.N,) and not out.logp_N.any()
        assert out.value_NK.shape == (batch.N, 1)
        assert set(out.terms) == {n for n in NEEDS if isinstance(n, HeadTerm)}


def test_another_role_is_scored_by_its_own_model():
    e, batch = engine(), pack(rows())
    other = Engine(e.others["reference"].transformer, e.tokens)
    assert torch.equal(e.score(batch, "reference").logp_N, other.score(batch).logp_N)
    assert not torch.equal(e.score(batch, "reference").logp_N, e.score(batch).logp_N)


def test_measuring_leaves_training_mode_as_it_was_and_drops_nothing_out():
    e, batch = Engine(tiny.model("llama", attention_dropout=0.5), Tokens(tiny.tokenizer())), pack(rows())
    e.model.train()
    assert torch.equal(e.score(batch).logp_N, e.score(batch).logp_N)
    assert e.model.training
    assert not torch.equal(e.forward(batch).logp_N, e.forward(batch).logp_N)


def test_bfloat16_arithmetic_leaves_weights_and_gradients_in_float32():
    exact, rough, batch = engine(), engine(precision="bfloat16"), pack(rows())
    out = rough.forward(batch, NEEDS)
    out.logp_N.sum().backward()
    assert out.logp_N.dtype == torch.float32
    assert all(p.grad.dtype == torch.float32 for p in rough.model.parameters() if p.grad is not None)
    difference = (out.logp_N.detach() - exact.score(batch).logp_N).abs()
    assert 0 < float(difference.max()) < 0.1


def test_a_model_that_changes_its_logits_in_an_unknown_way_is_refused():
    model = tiny.model()
    own = model.forward

    def changed(*args, **kwargs):
        out = own(*args, **kwargs)
        out.logits = out.logits * 2 + 1
        return out

    model.forward = changed
    with pytest.raises(ValueError, match="policy model .*changes its logits after the head"):
        Engine(model, Tokens(tiny.tokenizer()))


def test_kl_to_itself_is_zero_and_to_another_is_the_exact_mean():
    e = engine()
    other = Engine(e.others["reference"].transformer, e.tokens)
    pairs = [([9, 10, 11], [12, 13]), ([20], [21, 22, 23])]
    assert e.kl(pairs, e) == pytest.approx([0.0, 0.0], abs=1e-6)
    expected = []
    for prompt, completion in pairs:
        row = Row([*prompt, *completion], [True] * (len(prompt) + len(completion)), [])
        with torch.no_grad():
            p, q = plainly(e.model, row), plainly(other.model, row)
        expected.append(float((p.exp() * (p - q)).sum(-1)[len(prompt) :].mean()))
    assert e.kl(pairs, other) == pytest.approx(expected, rel=1e-4)
    assert "measured-against" not in e.others


def test_first_choices_are_judged_over_the_whole_completion():
    e = engine()
    prompt = [9, 10, 11]
    best = []
    for _ in range(3):
        with torch.no_grad():
            best.append(int(e.model(torch.tensor([[*prompt, *best]])).logits[0, -1].argmax()))
    wrong = [*best[:2], (best[2] + 1) % 263]
    firsts = e.first_choices([(prompt, best), (prompt, wrong), (prompt, best[:1])])
    assert [all(first) for first in firsts] == [True, False, True]
