"""The draw: the plain inversion over the whole vocabulary is its oracle, on the same random numbers."""

import pytest
import torch

from scalpel.engine import Sampling
from scalpel.engine.token_draw import BLOCK, choose, uniforms

SETTINGS = [
    Sampling(),
    Sampling(temperature=0.7),
    Sampling(temperature=1.9),
    Sampling(top_k=5),
    Sampling(top_k=1000, temperature=1.5),
    Sampling(top_p=0.9),
    Sampling(top_p=0.3, temperature=0.8),
    Sampling(top_p=0.999, temperature=2.0),
    Sampling(top_k=20, top_p=0.8, temperature=1.3),
]


def plain(logits_RV: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Cumulative probabilities [R, V] in double precision, with a full sort; what ties with the last of top-p stays."""
    logits_RV = logits_RV.double() / sampling.temperature
    if sampling.top_k:
        kth_R1 = logits_RV.sort(descending=True).values[:, min(sampling.top_k, logits_RV.shape[1]) - 1, None]
        logits_RV = logits_RV.masked_fill(logits_RV < kth_R1, -torch.inf)
    p_RV = logits_RV.softmax(-1)
    if sampling.top_p < 1:
        sorted_RV = p_RV.sort(descending=True).values
        last_R1 = (sorted_RV.cumsum(-1) - sorted_RV < sampling.top_p).sum(-1, keepdim=True) - 1
        p_RV = p_RV.masked_fill(p_RV < sorted_RV.gather(1, last_R1), 0.0)
    return p_RV.cumsum(-1) / p_RV.sum(-1, keepdim=True)


def logits(R: int, V: int, spread: float, seed: int = 0) -> torch.Tensor:
    return torch.randn(R, V, generator=torch.Generator().manual_seed(seed)) * spread


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
@pytest.mark.parametrize(("V", "spread"), [(7, 1.0), (BLOCK, 2.0), (5 * BLOCK + 13, 4.0), (5 * BLOCK + 13, 0.1)])
def test_it_is_the_plain_inversion_but_within_rounding_of_a_boundary(sampling, V, spread):
    z_RV = logits(500, V, spread)
    u_R = torch.rand(500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    token_R, _ = choose(z_RV, u_R, sampling)
    cdf_RV = plain(z_RV, sampling)
    above_R = cdf_RV.gather(1, token_R[:, None])[:, 0]
    below_R = torch.where(token_R > 0, cdf_RV.gather(1, (token_R[:, None] - 1).clamp(min=0))[:, 0], 0.0)
    assert bool(((below_R < u_R + 1e-6) & (u_R < above_R + 1e-6)).all())
    assert bool((above_R > below_R).all())  # nothing that the settings exclude
    same_R = token_R == torch.searchsorted(cdf_RV, u_R[:, None], right=True)[:, 0].clamp(max=V - 1)
    assert same_R.double().mean() > 0.995


def test_log_probs_are_those_at_the_temperature_whatever_else_is_set_and_at_1_where_nothing_is_drawn():
    z_RV = logits(50, 600, 3.0)
    u_R = torch.full((50,), 0.37, dtype=torch.float64)
    for sampling in (*SETTINGS, Sampling(temperature=0.0)):
        token_R, logp_R = choose(z_RV, u_R, sampling)
        p_RV = (z_RV / (sampling.temperature or 1.0)).log_softmax(-1)
        torch.testing.assert_close(logp_R, p_RV.gather(1, token_R[:, None])[:, 0])
    assert any(sampling.temperature not in (0.0, 1.0) for sampling in SETTINGS)


def test_tied_tokens_are_all_in_or_all_out():
    z_RV = torch.tensor([[0.0, 3.0, 1.0, 1.0, 1.0, -1.0]]).expand(4000, -1).contiguous()
    u_R = torch.rand(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for sampling in (Sampling(top_k=2), Sampling(top_p=0.75)):  # p = 0.67, then 0.09 three times
        assert set(choose(z_RV, u_R, sampling)[0].tolist()) == {1, 2, 3, 4}


@pytest.mark.parametrize("u", [0.0, 1e-300, 0.5, 1 - 2**-53])
@pytest.mark.parametrize("place", [0, 255, 256, 700, 999])
def test_the_only_possible_token_is_always_drawn(u, place):
    z_RV = torch.full((1, 1000), -torch.inf)
    z_RV[0, place] = 2.0
    token_R, logp_R = choose(z_RV, torch.tensor([u], dtype=torch.float64), Sampling())
    assert (token_R.item(), logp_R.item()) == (place, 0.0)


def test_probabilities_beyond_float32_steps_are_kept_at_a_full_vocabulary():
    """Two halves of a vocabulary of 49,152 at equal logits: a cumulative sum in float32 would lose the balance."""
    z_RV = torch.zeros(1, 49152)
    for u, token in ((0.0, 0), (0.5, 24576), (0.5 - 1e-9, 24575), (1 - 1e-9, 49151), (1 / 49152 + 1e-12, 1)):
        assert choose(z_RV, torch.tensor([u], dtype=torch.float64), Sampling())[0].item() == token


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(wrong):
    z_RV = torch.zeros(3, 9)
    z_RV[1, 4] = wrong
    with pytest.raises(ValueError, match="NaN or infinite in 1 of 3 rows"):
        choose(z_RV, torch.full((3,), 0.5, dtype=torch.float64), Sampling())


def test_random_numbers_of_a_row_do_not_depend_on_how_many_are_asked():
    assert uniforms(3, 5, 200)[:7] == uniforms(3, 5, 7) != uniforms(3, 6, 7)
