"""The packed pass gives what padded rows give, values and gradients, whatever is shared and whatever lies beside."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

import tiny
from scalpel.batch import DEMONSTRATION, Batch, Row, pack
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine, packed_forward
from scalpel.engine.padded_forward import hidden_before
from scalpel.engine.prefix_tree import lay_out
from scalpel.models.adapters import adapt

KINDS = ["llama", "qwen2", "qwen3", "gemma3_text", "gpt2", "mistral"]
tiny.SHAPES.setdefault("mistral", {**tiny.COMMON, "sliding_window": None})
WIDE: dict[str, dict] = {
    "gemma3_text": {"sliding_window": 128},
    "gpt2": {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
}


def model(kind="llama", **changes):
    return tiny.model(kind, **{**WIDE.get(kind, {}), **changes})


def tokens(n: int, seed: int) -> list[int]:
    return torch.randint(7, 263, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


P, Q = tokens(40, 1), tokens(9, 2)
BATCHES = {
    "uneven": [tokens(n, n) for n in (5, 40, 1, 23, 2, 23, 23)],
    "groups": [P + tokens(n, n) for n in (3, 7, 7, 1)] + [Q + tokens(n, 9 + n) for n in (12, 5)] + [tokens(30, 3)],
    "pairs": [P + Q + tokens(4, 1), P + Q + tokens(6, 2), P + tokens(3, 3), P + tokens(8, 4), Q],
    "a system prompt": [Q + P + tokens(4, k) for k in range(3)] + [Q + tokens(20, k) for k in range(3)],
    "identical": [P, P, P],
    "one within another": [P[:20], P, P + Q, P[:30]],
}


def batch(name: str, seed: int = 0) -> Batch:
    """Two in three tokens are trained, the first part of some sequences not at all."""
    g = torch.Generator().manual_seed(seed)
    rows = [
        Row(ids, (torch.rand(len(ids), generator=g) < 0.67).tolist(), [DEMONSTRATION] * len(ids))
        for ids in BATCHES[name]
    ]
    return pack(rows)


def asked(b: Batch) -> torch.Tensor:
    return b.train_N.nonzero()[:, 0]


def plain(model, b: Batch) -> torch.Tensor:
    return hidden_before(model, b.input_N, b.seq_N, asked(b), 0)


def ours(model, b: Batch, worth: float = 8, bundle: int = 0) -> torch.Tensor:
    return packed_forward.hidden_packed(model, b.input_N, lay_out(b.input_N, b.seq_N, asked(b), worth, bundle))


def gradients(model, hidden_nD: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of a sum whose weights differ from token to token and from unit to unit."""
    weight_nD = 0.5 + torch.sin(torch.arange(hidden_nD.numel(), dtype=torch.float32)).view_as(hidden_nD)
    (hidden_nD.float() * weight_nD).sum().backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_equal(model, b: Batch, worth: float = 8, tolerance: float = 1e-5, bundle: int = 0) -> None:
    expected, found = plain(model, b), ours(model, b, worth, bundle)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
    a, c = gradients(model, expected), gradients(model, found)
    assert a.keys() == c.keys() and a
    for name in a:
        torch.testing.assert_close(c[name], a[name], atol=tolerance * float(a[name].abs().max()), rtol=0, msg=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("bundle", [0, 24, 256])
def test_it_is_the_plain_pass_in_values_and_gradients(kind, name, bundle):
    assert_equal(model(kind), batch(name), bundle=bundle)


@pytest.mark.parametrize("name", ["groups", "a system prompt"])
def test_sharing_changes_nothing_but_the_work(name):
    m, b = model(), batch(name)
    shared, apart = (lay_out(b.input_N, b.seq_N, asked(b), worth, 0) for worth in (8, float("inf")))
    assert shared.M < 0.75 * apart.M and shared.above and not apart.above
    torch.testing.assert_close(ours(m, b, 8), ours(m, b, float("inf")), atol=1e-5, rtol=1e-5)


def test_a_sequence_does_not_depend_on_its_neighbours():
    m, b = model(), batch("groups")
    whole = ours(m, b)
    alone = torch.cat(
        [ours(m, b.pick(torch.tensor([s]))) for s in range(b.S) if asked(b.pick(torch.tensor([s]))).any()]
    )
    torch.testing.assert_close(whole, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_layers_see_the_layout_when_they_run_again(kind, reentrant):
    m = model(kind)
    m.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": reentrant})
    m.train()
    functions = [x._gradient_checkpointing_func for x in m.modules() if getattr(x, "gradient_checkpointing", False)]
    assert_equal(m, batch("groups"))
    assert functions == [
        x._gradient_checkpointing_func for x in m.modules() if getattr(x, "gradient_checkpointing", False)
    ]


def test_adapters_learn_the_same():
    m = model()
    adapt(m, "lora", {"r": 4, "target_modules": ["q_proj", "v_proj", "down_proj"], "init_lora_weights": False}, seed=0)
    assert_equal(m, batch("groups"))
    assert all("lora" in name for name in gradients(m, ours(m, batch("groups"))))


@pytest.mark.parametrize("name", ["uneven", "groups"])
def test_in_bfloat16_it_is_as_near_to_float32_as_the_plain_pass(name):
    m, b = model(), batch(name)
    with torch.no_grad():
        truth = plain(m, b)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            off = [float((h.float() - truth).pow(2).mean().sqrt()) for h in (plain(m, b), ours(m, b))]
    assert 0 < off[1] <= 1.15 * off[0]


def test_gradients_in_bfloat16_are_as_near_to_float32_as_the_plain_ones():
    m, b = model(), batch("groups")
    truth = gradients(m, plain(m, b))
    off = []
    for run in (plain, ours):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            h = run(m, b)
        found = gradients(m, h)
        off.append(sum(float(((found[n] - truth[n]) / truth[n].abs().max()).pow(2).mean()) for n in truth) ** 0.5)
    assert 0 < off[1] <= 1.15 * off[0]


@pytest.mark.parametrize("failing", [False, True])
def test_the_model_is_left_as_it_was(failing, monkeypatch):
    m, b = model(), batch("groups")
    before = m.config.to_dict(), m.config._attn_implementation, m.training
    if failing:
        monkeypatch.setattr(m.model.layers[1], "forward", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError) if failing else nullcontext():
        ours(m, b)
    assert before == (m.config.to_dict(), m.config._attn_implementation, m.training)
    assert packed_forward.present.get() is None


REFUSING = {
    "gemma2": ({}, "softcap"),
    "falcon": (dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, alibi=True), ""),
    "mamba": (dict(hidden_size=16, num_hidden_layers=2, state_size=4), ""),
    "mpt": (dict(d_model=16, n_layers=2, n_heads=2, max_seq_len=256), "needs an attention mask"),
}


@pytest.mark.parametrize("kind", REFUSING)
def test_a_model_that_can_not_is_run_in_padded_rows_and_that_is_said_once(kind, caplog, monkeypatch):
    changes, why = REFUSING[kind]
    monkeypatch.setitem(tiny.SHAPES, kind, tiny.SHAPES.get(kind, {}))
    m = tiny.model(kind, **changes)
    with caplog.at_level("INFO", logger="scalpel"):
        assert not packed_forward.packs(m) and not packed_forward.packs(m)
    said = [record.getMessage() for record in caplog.records if record.name == "scalpel"]
    assert len(said) == 1 and "padded rows" in said[0] and why in said[0]
    rows = [(tokens(4, 1), tokens(3, 2)), (tokens(9, 3), tokens(2, 4))]
    together, apart = Engine(m, Tokens(tiny.tokenizer())).logps(rows), []
    for before, said_N in rows:
        with torch.no_grad():
            logp = m(torch.tensor([before + said_N])).logits[0].log_softmax(-1)
        apart.append([float(logp[len(before) + k - 1, id]) for k, id in enumerate(said_N)])
    assert [pytest.approx(each, abs=1e-4) for each in apart] == together


def test_beyond_its_window_a_model_is_run_in_padded_rows_and_the_log_says_so_once(caplog):
    caplog.set_level("INFO", logger="scalpel")
    m, b = model("mistral", sliding_window=16), batch("groups")
    assert packed_forward.packs(m) and packed_forward.window(m) == 16
    near, far = (
        packed_forward.hidden(m, x, asked(x), lay_out(x.input_N, x.seq_N, asked(x)), 0) for x in (batch("uneven"), b)
    )
    torch.testing.assert_close(far, plain(m, b), atol=0, rtol=0)
    short = pack([Row(ids[:16], [True] * len(ids[:16]), [0] * len(ids[:16])) for ids in BATCHES["groups"]])
    layout = lay_out(short.input_N, short.seq_N, asked(short), 8)
    torch.testing.assert_close(
        packed_forward.hidden(m, short, asked(short), layout, 0), plain(m, short), atol=1e-5, rtol=1e-5
    )
    assert near.shape[1] == far.shape[1]
    (said,) = [record.getMessage() for record in caplog.records if record.name == "scalpel"]
    assert "padded rows" in said and "longer than 16 tokens" in said


def test_attention_with_dropout_is_left_to_the_model_from_the_beginning():
    m = model("llama", attention_dropout=0.5)
    state = torch.get_rng_state()
    assert not packed_forward.packs(m) and "dropout" in packed_forward.refused[m]
    assert not m.training and torch.equal(state, torch.get_rng_state())


def test_what_dropout_draws_for_each_sequence_is_not_shared():
    m = model()
    assert packed_forward.shares(m.train())
    m.model.layers[0].mlp = nn.Sequential(m.model.layers[0].mlp, nn.Dropout(0.5))
    assert not packed_forward.shares(m.train()) and packed_forward.shares(m.eval())


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_choices_of_one_question_are_scored_as_each_alone(kind):
    e = Engine(tiny.model(kind), Tokens(tiny.tokenizer()))
    rows = [(P + Q, tokens(n, n)) for n in (3, 5, 1)] + [(Q, tokens(4, 4))]
    together, alone = e.logps(rows), [e.logps([row])[0] for row in rows]
    assert [x for row in together for x in row] == pytest.approx([x for row in alone for x in row], abs=1e-5)


def test_choices_of_one_question_pay_for_it_once():
    e = Engine(model(), Tokens(tiny.tokenizer()))
    e.logps([(P + Q, tokens(5, k)) for k in range(4)])
    assert e.meter.tokens_processed == 49 + 4 * 4
