"""Sampling: each row for itself, the right distribution, and the right end."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare

import tiny
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine, Sampling
from scalpel.engine.outputs import completions
from scalpel.engine.sampling_request import MARGIN, Stops, holds
from scalpel.engine.token_draw import choose

PROMPTS = [[9, 10, 11], [40], [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24], [100, 101]]


def engine(kind="llama", **more) -> Engine:
    return Engine(tiny.model(kind, initializer_range=0.3), Tokens(tiny.tokenizer()), **more)


@pytest.mark.parametrize("kind", sorted(tiny.SHAPES))
def test_greedy_is_what_transformers_generates(kind):
    e = engine(kind)
    for prompt, (sample,) in zip(PROMPTS, e.sample(PROMPTS, Sampling(12, temperature=0.0)), strict=True):
        ids = torch.tensor([prompt])
        made = e.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=sorted(e.tokens.stop_ids),
            pad_token_id=0,
        )
        assert sample.ids == made[0, len(prompt) :].tolist()


@pytest.mark.parametrize("kind", sorted(tiny.SHAPES))
def test_a_sample_does_not_depend_on_what_else_is_in_the_batch(kind):
    e = engine(kind)
    together = e.sample(PROMPTS, Sampling(20), n=3, seed=5)
    e.sample_rows = 3  # now each prompt is a batch of its own
    apart = e.sample(PROMPTS, Sampling(20), n=3, seed=5)
    assert [[s.ids for s in group] for group in together] == [[s.ids for s in group] for group in apart]
    a = torch.tensor([x for group in together for s in group for x in s.logp])
    b = torch.tensor([x for group in apart for s in group for x in s.logp])
    torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-5)


def test_samples_depend_on_the_seed_and_differ_within_a_group():
    e = engine()
    ids = lambda seed: [[s.ids for s in g] for g in e.sample(PROMPTS, Sampling(20), n=4, seed=seed)]  # noqa: E731
    assert ids(1) == ids(1)
    assert ids(1) != ids(2)
    assert all(len({tuple(s) for s in group}) > 1 for group in ids(1))


@pytest.mark.parametrize("kind", sorted(tiny.SHAPES))
def test_the_samplers_log_probs_are_the_scorers(kind):
    e = engine(kind)
    found = e.sample(PROMPTS, Sampling(20, temperature=0.7, top_k=50), n=2, seed=3)
    rows = [(p, s.ids) for p, group in zip(PROMPTS, found, strict=True) for s in group]
    sampled = [x for group in found for s in group for x in s.logp]
    batch = completions(rows)
    batch = replace(batch, temperature_N=torch.where(batch.train_N, 0.7, 1.0))  # a scorer's are at 1 unless told
    assert sampled == pytest.approx(e.score(batch).logp_N[batch.train_N].tolist(), abs=5e-5)


def counted(sampling: Sampling, n: int = 6000) -> tuple[torch.Tensor, torch.Tensor]:
    """How often each of six tokens is drawn, and its probability at temperature 1."""
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -torch.inf])
    u = torch.rand(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.bincount(choose(logits.expand(n, -1), u, sampling)[0], minlength=6), logits.softmax(-1)


@pytest.mark.parametrize(
    ("sampling", "allowed", "power"),
    [
        (Sampling(), [0, 1, 2, 3, 4], 1.0),
        (Sampling(temperature=2.0), [0, 1, 2, 3, 4], 0.5),
        (Sampling(temperature=0.5), [0, 1, 2, 3, 4], 2.0),
        (Sampling(top_k=2), [0, 1], 1.0),
        (Sampling(top_k=99), [0, 1, 2, 3, 4], 1.0),
        (Sampling(top_p=0.6), [0, 1], 1.0),  # p = 0.56, 0.21, …: the smallest set with at least 0.6 is {0, 1}
        (Sampling(top_p=0.5), [0], 1.0),
        (Sampling(top_k=3, top_p=0.85, temperature=2.0), [0, 1, 2], 0.5),  # 0.44, 0.27, … of three: 0.71 < 0.85
    ],
)
def test_tokens_are_drawn_with_the_probability_that_the_settings_give(sampling, allowed, power):
    counts, p = counted(sampling)
    expected = torch.zeros(6).index_copy(0, torch.tensor(allowed), p[allowed].double().pow(power).float())
    expected = expected / expected.sum()
    assert not counts[expected == 0].any()
    if len(allowed) > 1:
        seen, wanted = counts[allowed].double(), expected[allowed].double()
        assert chisquare(seen.numpy(), (wanted / wanted.sum() * seen.sum()).numpy()).pvalue > 1e-3


def test_temperature_zero_takes_the_likeliest():
    counts, _ = counted(Sampling(temperature=0.0), 10)
    assert counts.tolist() == [10, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("u", [0.0, 0.5, 1 - 1e-16])
def test_a_token_without_probability_is_never_drawn(u):
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]])
    assert int(choose(logits, torch.tensor([u], dtype=torch.float64), Sampling())[0]) in (1, 3)


def test_the_end_is_a_stop_token_or_the_limit():
    e = engine()
    found = [s for g in e.sample(PROMPTS, Sampling(200), n=8, seed=1) for s in g]
    assert any(s.finished for s in found) and all(len(s.ids) <= 200 for s in found)
    for s in found:
        assert s.finished == (s.ids[-1] in e.tokens.stop_ids)
        assert not set(s.ids[:-1]) & e.tokens.stop_ids
        assert len(s.logp) == len(s.ids)
        assert s.finished or len(s.ids) == 200


def test_a_stop_string_ends_a_completion_as_soon_as_it_is_there():
    e = engine()
    free = e.sample(PROMPTS, Sampling(30), n=2, seed=1)
    word = e.tokens.text(free[0][0].ids[5:7])
    stopped = e.sample(PROMPTS, Sampling(30, stop=(word,)), n=2, seed=1)
    assert word and len(stopped[0][0].ids) <= 7 and stopped[0][0].finished
    for a, b in zip(free, stopped, strict=True):
        for x, y in zip(a, b, strict=True):
            assert y.ids == x.ids[: len(y.ids)]
            assert word not in e.tokens.text(y.ids[:-1])


def test_a_stop_string_inside_the_last_token_counts():
    assert holds("one.)", (".",)) and not holds("one", (".", ";"))


class Bytes:
    """Decodes ids as bytes and remembers how much it was asked; ids over 255 are special and say nothing."""

    def __init__(self):
        self.asked = []

    def __call__(self, ids):
        self.asked.append(len(ids))
        return bytes(i for i in ids if i < 256).decode("utf8", "replace")


def test_only_the_end_is_decoded_while_no_stop_string_is_there():
    decode = Bytes()
    stops = Stops(frozenset(), ("Stop", "§§"), decode)
    text = list("ein langer Text, ü§ Sto".encode() * 20)
    assert not any(stops.end(text[: t + 1]) for t in range(len(text)))
    assert max(decode.asked) <= 4 + MARGIN


@pytest.mark.parametrize("stop", ["Stop", "üü", "."])
@pytest.mark.parametrize("between", [[], [300], [300] * 40])
def test_a_stop_string_is_found_across_special_tokens_and_parts_of_characters(stop, between):
    stops = Stops(frozenset(), (stop,), Bytes())
    pieces = stop.encode()
    ids = [*b"before " * 9, *pieces[:-1], *between, pieces[-1]]
    assert [t for t in range(1, len(ids) + 1) if stops.end(ids[:t])] == [len(ids)]


def test_a_stop_string_that_only_the_end_alone_would_show_does_not_count():
    """Some tokenizers drop the space at the beginning of what they decode."""
    stops = Stops(frozenset(), ("x" * 12,), lambda ids: "x" * 12 if len(ids) < 40 else "y")
    assert not stops.end([1] * 40)


def test_each_prompt_has_its_own_limit_and_the_tokens_do_not_change_by_it():
    e = engine()
    free = e.sample(PROMPTS, Sampling(30), n=2, seed=1)
    limits = [1, 30, 7, 12]
    for limit, group, whole in zip(limits, e.sample(PROMPTS, Sampling(30), 2, 1, limits), free, strict=True):
        assert [s.ids for s in group] == [s.ids[:limit] for s in whole]
        assert [s.finished for s in group] == [s.finished and len(s.ids) <= limit for s in whole]


def test_a_limit_may_fit_a_prompt_that_would_fill_the_context_otherwise():
    found = engine().sample([[9] * 250, [9]], Sampling(20), limits=[6, 20])
    assert len(found[0][0].ids) <= 6


@pytest.mark.parametrize("limits", [[1], [0, 4], [4, 21]])
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(ValueError, match="1 limits for 2 prompts|must be between 1 and sampling.max_tokens, 20"):
        engine().sample([[9], [10]], Sampling(20), limits=limits)


def test_each_prompt_is_told_once_when_its_samples_are_complete():
    e, told = engine(sample_rows=6), {}
    e.tokens.stop_ids = frozenset(range(3, 260, 16))

    def done(p, samples):
        assert p not in told and all(s.finished or len(s.ids) == 30 for s in samples)
        told[p] = [list(s.ids) for s in samples]

    found = e.sample(PROMPTS, Sampling(30), n=3, seed=2, done=done)
    assert [told[p] for p in range(4)] == [[s.ids for s in group] for group in found]
    assert list(told) != [0, 1, 2, 3]


def test_an_error_on_completion_comes_out_as_it_is():
    def done(p, samples):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        engine().sample(PROMPTS, Sampling(3), done=done)


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        engine().sample([[9], []], Sampling(4))


def test_a_prompt_beyond_the_context_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="prompt 0 has 250 tokens and 20 more .* context holds 256: shorten"):
        engine().sample([[9] * 250], Sampling(20))


def test_no_prompts_give_no_samples_and_no_rows_no_numbers():
    e = engine()
    assert e.sample([], Sampling(4)) == []
    assert (e.logps([]), e.kl([], e), e.first_choices([])) == ([], [], [])


def test_sampling_in_bfloat16_runs_and_keeps_its_promises_of_length():
    found = engine(precision="bfloat16").sample(PROMPTS, Sampling(8), n=2)
    assert [len(g) for g in found] == [2] * 4 and all(1 <= len(s.ids) <= 8 for g in found for s in g)
