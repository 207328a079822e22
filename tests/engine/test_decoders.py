"""Rows under way: slots with shared prompts are the plain cache, whatever leaves and enters."""

import logging
from random import Random

import pytest
import torch

import tiny
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine, Sampling
from scalpel.engine.decoders import (
    Decoder,
    Padded,
    hindrance,
    portions,
    rows_for,
)
from scalpel.engine.grouped_kv_cache import NAME, closed, ranks

FAST = sorted(set(tiny.SHAPES) - {"gemma2"})
PROMPTS = [[9, 10, 11], [40], [7, 8, 9], list(range(20, 29)), [100, 101], [50]]


def model(kind="llama", **changes):
    wide = {"sliding_window": 64} if "gemma" in kind else {}
    return tiny.model(kind, initializer_range=0.3, **{**wide, **changes})


@pytest.mark.parametrize("kind", FAST)
@pytest.mark.parametrize("n", [1, 3])
@torch.no_grad()
def test_logits_are_the_plain_ones_while_rows_leave(kind, n):
    m, rng = model(kind), Random(n)
    fast, plain = Decoder(m, n, 6, 9, 40), Padded(m, n, 6, 0)
    a_RV, b_RV = fast.enter(PROMPTS), plain.enter(PROMPTS)
    torch.testing.assert_close(a_RV, b_RV, atol=2e-5, rtol=1e-5)
    who_a, who_b = list(range(6 * n)), list(range(6 * n))
    for step in range(36):  # beyond the slots that a row has at first
        said = {r: rng.randrange(7, 200) for r in who_a}
        if step % 7 == 3 and len(who_a) > 2:
            gone = set(rng.sample(who_a, 2))
            order_a = fast.leave([i for i, r in enumerate(who_a) if r in gone])
            order_b = plain.leave([i for i, r in enumerate(who_b) if r in gone])
            who_a, who_b = [who_a[i] for i in order_a], [who_b[i] for i in order_b]
        a_RV = fast.advance(torch.tensor([said[r] for r in who_a]))
        b_RV = plain.advance(torch.tensor([said[r] for r in who_b]))
        at = torch.tensor([who_b.index(r) for r in who_a])
        torch.testing.assert_close(a_RV, b_RV[at], atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_rows_that_enter_later_are_as_if_they_had_been_alone():
    m = model()
    fast = Decoder(m, 2, 2, 9, 12)
    fast.enter(PROMPTS[2:4])
    fast.advance(torch.tensor([30, 31, 32, 33]))
    assert fast.leave([0, 1]) == [3, 2]
    assert fast.free_rows() == 1
    new_RV = fast.enter([PROMPTS[0]])
    both_RV = fast.advance(torch.tensor([60, 61, 62, 63]))
    for prompt, rows, fed in ((PROMPTS[3], both_RV[:2], ([33, 60], [32, 61])), (PROMPTS[0], both_RV[2:], ([62], [63]))):
        for row_V, ids in zip(rows, fed, strict=True):
            alone_V = m(torch.tensor([[*prompt, *ids]])).logits[0, -1]
            torch.testing.assert_close(row_V, alone_V, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(new_RV[0], m(torch.tensor([PROMPTS[0]])).logits[0, -1], atol=2e-5, rtol=1e-5)


def sampled(e, **more):
    return [[s.ids for s in g] for g in e.sample(PROMPTS, Sampling(40), n=3, seed=2, **more)]


@pytest.mark.parametrize("kind", FAST)
def test_samples_are_those_of_the_plain_way_with_any_number_of_rows(kind, monkeypatch):
    e = Engine(model(kind), Tokens(tiny.tokenizer()))
    e.tokens.stop_ids = frozenset(range(3, 260, 16))
    fast = {}
    for e.sample_rows in (256, 9, 3):
        fast[e.sample_rows] = sampled(e)
    padded = lambda m, n, most, longest, limit, pad: Padded(m, n, most, pad)  # noqa: E731
    monkeypatch.setattr("scalpel.engine.engine.rows_for", padded)
    plain = sampled(e)
    assert len({len(ids) for group in plain for ids in group}) > 3  # rows did leave at different times
    assert all(found == plain for found in fast.values())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_models_go_the_fast_way_in_both_precisions(precision):
    e = Engine(model(), Tokens(tiny.tokenizer()), precision=precision)
    e.sample(PROMPTS, Sampling(2))
    assert isinstance(rows_for(e.model, 2, 3, 10, 10, 0), Decoder)


def test_the_model_is_left_as_it_was():
    e = Engine(model(), Tokens(tiny.tokenizer()))
    before = e.model.config._attn_implementation
    e.model.train()
    e.sample(PROMPTS, Sampling(3))
    assert e.model.config._attn_implementation == before != NAME and e.model.training
    assert not any("forward" in vars(m) for m in e.model.modules())


def test_what_the_fast_way_can_not_do_goes_the_plain_way_and_the_log_says_why_once(caplog):
    caplog.set_level(logging.INFO, "scalpel")
    e = Engine(model("gemma2"), Tokens(tiny.tokenizer()))
    for _ in range(2):
        e.sample(PROMPTS, Sampling(2))
    (line,) = [r.message for r in caplog.records if "padded rows" in r.message]
    assert "Gemma2ForCausalLM" in line and "softcap" in line
    assert isinstance(rows_for(e.model, 1, 1, 3, 3, 0), Padded)


def test_a_window_shorter_than_the_sequences_goes_the_plain_way_and_the_log_says_so_once(caplog):
    caplog.set_level(logging.INFO, "scalpel")
    m = tiny.model("gemma3_text", initializer_range=0.3)  # a window of 16
    assert isinstance(rows_for(m, 1, 1, 10, 6, 0), Decoder) and not caplog.records
    for limit in (7, 8):
        assert isinstance(rows_for(m, 1, 1, 10, limit, 0), Padded)
    (line,) = [r.message for r in caplog.records if "padded rows" in r.message]
    assert "Gemma3ForCausalLM" in line and "17 tokens" in line and "looks back on 16 alone" in line
    assert isinstance(rows_for(m, 1, 1, 10, 6, 0), Decoder)  # shorter ones go the fast way still


def test_a_model_whose_positions_are_not_told_is_found_out(monkeypatch):
    """One that counts positions by itself would read the second prompt as a continuation of the first."""
    m = model()
    own = m.base_model.forward
    monkeypatch.setattr(m.base_model, "forward", lambda *a, position_ids=None, **k: own(*a, **k))
    assert "standard deviations" in hindrance(m, 0)


def test_places_of_rows_that_left_are_filled_from_the_end():
    assert closed(6, [1, 2]) == [0, 5, 4, 3]
    assert closed(6, [5, 4]) == [0, 1, 2, 3] and closed(6, []) == list(range(6)) and closed(3, [0, 1, 2]) == []
    rng = Random(0)
    for _ in range(50):
        gone = rng.sample(range(20), rng.randrange(21))
        order = closed(20, gone)
        assert sorted(order) == sorted(set(range(20)) - set(gone))
        assert sum(i != r for i, r in enumerate(order)) <= len(gone)


def test_ranks_count_within_a_group():
    assert ranks([0, 0, 1, 0, 1, 2]) == [0, 1, 0, 2, 1, 0]


def test_prompts_are_read_in_portions_of_so_many_tokens():
    assert [[len(p) for p in part] for part in portions([[1] * 5, [1] * 3, [1] * 3, [1] * 9], 8)] == [[5, 3], [3], [9]]


@torch.no_grad()
def test_in_bfloat16_it_is_as_near_to_float32_as_the_plain_way():
    m = model(hidden_size=48, num_attention_heads=6, num_key_value_heads=2, num_hidden_layers=4)
    said = torch.randint(7, 260, (30, 12), generator=torch.Generator().manual_seed(0))

    def logps(rows, bf16):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            z = [rows.enter(PROMPTS), *(rows.advance(token_R) for token_R in said)]
        return torch.stack(z).float().log_softmax(-1)

    truth = logps(Padded(m, 2, 6, 0), False)
    plain, ours = (logps(x, True) for x in (Padded(m, 2, 6, 0), Decoder(m, 2, 6, 9, 40)))
    assert 0 < (ours - truth).abs().mean() < 1.1 * (plain - truth).abs().mean()
