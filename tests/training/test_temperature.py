"""A temperature that keeps the entropy of what is sampled where it should be."""

import pytest
import torch

import tiny
from running import tables
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine, Sample, Sampling
from scalpel.engine.token_draw import entropies
from scalpel.training.loop import train
from scalpel.training.run import TrainingRun
from scalpel.training.temperature import COLDEST, HOTTEST, TemperatureController

KEPT = {"method": "grpo", "sampling": {"entropy": 2.5, "pace": 0.5}, "learning_rate": 1e-9}


def samples(entropy: float, n: int = 4) -> list[list[Sample]]:
    return [[Sample([1] * n, [0.0] * n, entropy=entropy * n)]]


@pytest.mark.parametrize(("seen", "shift"), [(0.5, 0.15), (1.0, 0.0), (1.5, -0.15), (9.0, -0.3), (0.0, 0.3)])
def test_it_warms_where_there_is_too_little_and_cools_where_there_is_too_much(seen: float, shift: float) -> None:
    kept = TemperatureController(1.0, 0.3, 0.8)
    kept.note(samples(seen))
    assert kept.settle() == {"sampling/entropy": pytest.approx(seen), "sampling/temperature": 0.8}
    assert float(torch.tensor(kept.temperature / 0.8).log()) == pytest.approx(shift, abs=1e-6)
    assert kept.settle() == {}  # nothing new was sampled


def test_it_stays_within_bounds() -> None:
    for seen, bound in ((0.0, HOTTEST), (99.0, COLDEST)):
        kept = TemperatureController(1.0, 1.0, 1.0)
        for _ in range(20):
            kept.note(samples(seen))
            kept.settle()
        assert kept.temperature == bound


@pytest.mark.parametrize("start", [0.2, 1.0, 3.0])
def test_it_finds_the_temperature_at_which_the_entropy_is_the_target(start: float) -> None:
    logits_RV = torch.randn(64, 50, generator=torch.Generator().manual_seed(0))
    kept = TemperatureController(1.5, 0.3, start)
    for _ in range(80):
        kept.note([[Sample([1] * 64, [], entropy=float(entropies(logits_RV, kept.temperature).sum()))]])
        kept.settle()
    assert float(entropies(logits_RV, kept.temperature).mean()) == pytest.approx(1.5, abs=0.02)


def test_the_measured_entropy_is_that_of_the_tempered_distributions() -> None:
    engine = Engine(tiny.model(), Tokens(tiny.tokenizer()))
    prompt = [9, 20, 31]
    ((found,),) = engine.sample([prompt], Sampling(6, temperature=0.5, entropy=True), seed=1)
    with torch.no_grad():
        logits = engine.model(torch.tensor([[*prompt, *found.ids]]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    expected = torch.distributions.Categorical(logits=logits / 0.5).entropy().sum()
    assert found.entropy == pytest.approx(float(expected), rel=1e-4)
    ((plain,),) = engine.sample([prompt], Sampling(6, temperature=0.5), seed=1)
    assert plain.ids == found.ids and plain.entropy == 0.0


def test_impossible_tokens_add_no_entropy() -> None:
    logits = torch.tensor([[0.0, 0.0, -torch.inf]])
    assert float(entropies(logits, 0.7)) == pytest.approx(float(torch.tensor(2.0).log()))


def test_along_a_run_the_entropy_comes_to_the_target(at) -> None:
    log: list[dict] = []
    train(tables(at, {**KEPT, "steps": 14}), tell=lambda record: log.append(dict(record)))
    seen = [line["sampling/entropy"] for line in log]
    assert seen[0] > 4.0  # a random model over 263 tokens
    assert sum(seen[-4:]) / 4 == pytest.approx(2.5, abs=0.5)
    assert log[0]["sampling/temperature"] == 1.0 > log[-1]["sampling/temperature"]


def test_without_a_target_nothing_is_measured(at) -> None:
    run = TrainingRun(tables(at, {"method": "grpo", "steps": 1}))
    assert run.enter(0).temperature_controller is None


def test_no_entropy_can_be_kept_at_temperature_zero(at) -> None:
    with pytest.raises(ValueError, match="target_entropy needs a temperature above 0"):
        tables(at, {"method": "grpo", "sampling": {"temperature": 0.0, "entropy": 0.3}})
