"""Blended input: the engine shows (1 − mix) · E[input] + mix · E[mix_ids], whatever the packing."""

from dataclasses import replace

import pytest
import torch

import tiny
from scalpel.batch import DEMONSTRATION, MEAN_EMBEDDING, Batch, Row, pack
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine
from scalpel.training.logprob_cache import keys_of

KINDS = ["llama", "qwen3", "gemma2", "gemma3_text", "gpt2"]


def engine(kind: str) -> Engine:
    return Engine(tiny.model(kind), Tokens(tiny.tokenizer()))


def mixed(seed: int = 0, share: float = 0.3) -> Batch:
    """Two answers to one prompt and one to another; the answers are trained and shown blended."""
    g = torch.Generator().manual_seed(seed)
    prompt = torch.randint(7, 263, (12,), generator=g).tolist()
    answers = [torch.randint(7, 263, (n,), generator=g).tolist() for n in (9, 5, 14)]
    starts = [prompt, prompt, prompt[:3]]
    batch = pack(
        [
            Row([*p, *a], [False] * len(p) + [True] * len(a), [DEMONSTRATION] * (len(p) + len(a)), group=k)
            for k, (p, a) in enumerate(zip(starts, answers, strict=True))
        ]
    )
    other_N = torch.randint(7, 263, (batch.N,), generator=g)
    share_N = share * torch.rand(batch.N, generator=g) * batch.train_N
    return replace(batch, mix_ids_N=torch.where(batch.train_N, other_N, batch.ids_N), mix_N=share_N)


def plainly(e: Engine, batch: Batch) -> torch.Tensor:
    """Log-probs of each sequence alone, from embeddings blended here."""
    embed, found = e.model.get_input_embeddings(), []
    for s in range(batch.S):
        ids, others, share = (x[batch.seq_N == s] for x in (batch.ids_N, batch.mix_ids_N, batch.mix_N))
        shown = (1 - share[:, None]) * embed(ids) + share[:, None] * embed(others)
        logp = e.model(inputs_embeds=shown[None], use_cache=False).logits[0].log_softmax(-1)[:-1]
        found.append(torch.cat([torch.zeros(1), logp.gather(1, ids[1:, None])[:, 0]]))
    return torch.cat(found)


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_the_blended_embeddings(kind: str) -> None:
    e, batch = engine(kind), mixed()
    weight_N = torch.linspace(-1, 1, batch.N) * batch.train_N
    found = []
    for logp_N in (e.forward(batch).logp_N, plainly(e, batch)):
        (logp_N * weight_N).sum().backward()
        slopes = {n: p.grad.clone() for n, p in e.model.named_parameters() if p.grad is not None}
        found.append((logp_N.detach()[batch.train_N], slopes))
        e.model.zero_grad()
    torch.testing.assert_close(found[0][0], found[1][0], atol=2e-5, rtol=1e-5)
    assert found[0][1].keys() == found[1][1].keys()
    for name, slope in found[1][1].items():
        torch.testing.assert_close(found[0][1][name], slope, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_all_embeddings_is_shown_as_the_model_looks_them_up(kind: str) -> None:
    """Gemma scales what it looks up, and Gemma 2 runs in padded rows."""
    e, batch = engine(kind), mixed()
    shown_N = batch.train_N & (torch.arange(batch.N) % 2 == 0)
    masked = replace(batch, mix_ids_N=torch.where(shown_N, MEAN_EMBEDDING, batch.ids_N), mix_N=shown_N.float())
    embed, ours = e.model.get_input_embeddings(), e.score(masked).logp_N
    with torch.no_grad():
        mean_D = embed(torch.arange(e.model.config.get_text_config().vocab_size)).mean(0)
        for s in range(batch.S):
            ids, hidden = batch.ids_N[batch.seq_N == s], shown_N[batch.seq_N == s]
            x_TD = torch.where(hidden[:, None], mean_D, embed(ids))
            logp_TV = e.model(inputs_embeds=x_TD[None], use_cache=False).logits[0].log_softmax(-1)[:-1]
            asked = batch.train_N[batch.seq_N == s][1:]
            logp = logp_TV.gather(1, ids[1:, None])[:, 0][asked]
            torch.testing.assert_close(ours[batch.seq_N == s][1:][asked], logp, atol=2e-5, rtol=1e-4)


def test_nothing_blended_is_what_it_was_and_all_blended_is_the_other_ids() -> None:
    e, batch = engine("llama"), mixed()
    plain = replace(batch, mix_ids_N=None, mix_N=None)
    none, whole = (replace(batch, mix_N=share * batch.train_N.float()) for share in (0.0, 1.0))
    torch.testing.assert_close(e.score(none).logp_N, e.score(plain).logp_N, atol=2e-5, rtol=1e-5)
    other = replace(plain, input_N=batch.mix_ids_N)
    torch.testing.assert_close(e.score(whole).logp_N, e.score(other).logp_N, atol=2e-5, rtol=1e-5)
    assert not torch.allclose(e.score(batch).logp_N, e.score(plain).logp_N, atol=1e-3)


@pytest.mark.parametrize(("shares", "more"), [((0.1, 0.1), 2), ((0.1, 0.0), 11), ((0.1, 0.2), 11 + 2)])
def test_a_common_prefix_is_shared_only_as_far_as_it_is_shown_alike(shares: tuple[float, float], more: int) -> None:
    """A prompt of 12 tokens comes twice, and its first 3 a third time. The second token of the first two is blended
    now: where their shares are equal they still have 12 tokens in common, else 1; the third has 3 in common with one
    that isn't blended, else 1."""
    e, batch = engine("llama"), mixed()
    second = [int((batch.seq_N == s).nonzero()[1, 0]) for s in (0, 1)]
    mix_N, mix_ids_N = batch.mix_N.clone(), batch.mix_ids_N.clone()
    mix_N[second], mix_ids_N[second] = torch.tensor(shares), 9
    shown = replace(batch, mix_N=mix_N, mix_ids_N=mix_ids_N)
    assert more == e.layout(shown).M - e.layout(batch).M
    ours, plain = e.score(shown).logp_N, plainly(e, shown).detach()
    torch.testing.assert_close(ours[batch.train_N], plain[batch.train_N], atol=2e-5, rtol=1e-5)


def test_micro_batches_carry_the_blend_along() -> None:
    e, batch = engine("llama"), mixed()
    whole = e.score(batch).logp_N
    e.micro_tokens = 16
    assert len(e.micro(batch, "sequence")) > 1
    torch.testing.assert_close(e.score(batch).logp_N, whole, atol=2e-5, rtol=1e-5)


def test_a_reference_s_view_of_what_is_blended_is_not_remembered() -> None:
    batch = mixed()
    assert keys_of(batch) == [None] * 3
    assert all(keys_of(replace(batch, mix_ids_N=None, mix_N=None)))
