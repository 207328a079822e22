"""What is known of a gradient before the forward pass, and what becomes of it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import material
from running import opened, tables
from scalpel.batch import Batch
from scalpel.config.plan import assemble
from scalpel.engine import fused_head, head
from scalpel.training.known_gradient import known_slope, steady
from scalpel.training.run import TrainingRun
from scalpel.training.step import StepMetrics, backward, prepare

LOSSES = [p for axis in ("objective", "anchor") for p in material.parts(axis) if p.part.steady]


def slope(bound, at_N: Tensor, batch: Batch) -> Tensor:
    """∂loss/∂logp of a part at some log-probs, where old is logp itself and the statistic of the step is what it is."""
    logp_N = at_N.clone().requires_grad_()
    batch = replace(batch, old_N=None, reward_SK=None)
    stat = material.statistic(bound, {"logp": torch.full_like(at_N, -1.5)}, batch)
    loss, _ = material.call(bound, {"logp": logp_N}, batch, stat)
    return torch.autograd.grad(loss, logp_N)[0]


@pytest.mark.parametrize("bound", LOSSES, ids=material.label)
def test_what_is_declared_steady_is(bound):
    batch = material.batch()
    batch = replace(batch, credit_N=torch.linspace(-1, 1, batch.N, dtype=torch.float64))
    nowhere_N = torch.zeros(batch.N, dtype=torch.float64)
    here_N = slope(bound, nowhere_N, batch)
    assert here_N.any()
    for seed in range(3):
        torch.manual_seed(seed)
        torch.testing.assert_close(slope(bound, -5 * torch.rand_like(nowhere_N), batch), here_N)


def passed(run: TrainingRun, stream, batch: Batch, accumulation: int = 1) -> dict:
    step_metrics = StepMetrics()
    loss = backward(run.engine, stream, batch, 0.5, accumulation, step_metrics)
    gradients = {n: p.grad.clone() for n, p in run.engine.model.named_parameters() if p.grad is not None}
    run.engine.model.zero_grad(set_to_none=True)
    return {"loss": loss, **step_metrics.means(), **gradients}


STEADY = {
    "supervised": {"method": "sft"},
    "by its reward": {"signals": [{"source": "groups", "credit": ["reward"], "objective": "nll"}]},
    "policy gradient": {"method": "grpo"},
    "a scope of some weights": {"method": "sft", "scope": "hft"},
}


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("stage", STEADY.values(), ids=STEADY)
def test_a_step_with_gradients_made_ahead_is_the_plain_step(run, stage, accumulation, monkeypatch):
    running = opened(run, stage)
    stream = running.plan.streams[0]
    batch = prepare(run.engine, stream, run.rollout.draw(running, running.streams[0], 0, 0, 0.5), 0.5)
    batch = rewarded(batch)
    again, made = fused_head.gradients, []
    monkeypatch.setattr(fused_head, "gradients", lambda *args: made.append(1) or again(*args))
    found = passed(run, stream, batch, accumulation)
    assert not made, "the expectation did not come true"
    monkeypatch.setattr(head, "reason", lambda *args: "the test wants it")
    expected = passed(run, stream, batch, accumulation)
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        torch.testing.assert_close(torch.as_tensor(found[name]), torch.as_tensor(x), rtol=1e-4, atol=1e-6, msg=name)


def rewarded(batch: Batch) -> Batch:
    """Rewards that differ within every group, so that there is something to learn."""
    if batch.reward_SK is None:
        return batch
    return replace(batch, reward_SK=torch.arange(batch.S).remainder(3).float()[:, None])


UNSTEADY = {
    "credit that reads the outputs": {
        "signals": [{"source": "demonstrations", "credit": ["own-probability"], "objective": "nll"}]
    },
    "pairs": {"method": "dpo"},
    "an anchor on outputs": {"method": "sft", "anchors": ["kl"]},
}


@pytest.mark.parametrize("stage", UNSTEADY.values(), ids=UNSTEADY)
def test_nothing_is_said_where_the_slope_depends_on_the_outputs(run, stage):
    recipe = tables(run.at, stage)
    stream = assemble(recipe.stages[0], recipe).streams[0]
    assert known_slope(stream, material.batch(), 0.0, None) is None


def test_a_later_update_on_the_same_samples_is_not_steady(run):
    recipe = tables(run.at, {"method": "grpo"})
    stream, batch = assemble(recipe.stages[0], recipe).streams[0], material.batch()
    assert steady(stream, replace(batch, old_N=None), 0.0)
    assert not steady(stream, replace(batch, old_N=torch.zeros(batch.N)), 0.0)
