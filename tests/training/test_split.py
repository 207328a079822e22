"""How a batch is cut into micro-batches changes neither loss nor gradient, for whatever learns from it."""

import itertools
import string
from dataclasses import replace

import pytest
import torch

from points import SETTINGS, plain_recipe, spec
from running import tables
from scalpel.batch import Batch
from scalpel.config.plan import assemble
from scalpel.config.schema import StageSpec
from scalpel.methods import ROWS
from scalpel.registry import AXES
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun
from scalpel.training.step import StepMetrics, backward, prepare

PLAIN = ("demonstrations", "groups", "labelled", "preference-pairs", "prefix-groups")  # always give something
ENDING = ("accepted-samples", "answers", "revisions")  # sources that leave out what did not end by itself
SPLITS = [(1, 16384), (2, 16384), (3, 40), (1, 1)]  # accumulation, tokens of a micro-batch


def opened(run: TrainingRun, stage: dict) -> StageRun:
    recipe = tables(run.at, stage)
    own = [spec for spec in recipe.stages if spec.name and spec.name == stage.get("method")]  # of a row of several
    run.plans = [assemble([*own, *recipe.stages][0], recipe)]
    if run.plans[0].spec.reference == "start":  # else what the test before moved would be the reference
        run.engine.model.load_state_dict(run.home, strict=False)
    return run.enter(0)


@pytest.fixture(scope="module")
def run(at) -> TrainingRun:
    made = TrainingRun(tables(at, {"method": "sft"}))
    made.at = at
    made.home = {name: p.detach().clone() for name, p in made.engine.model.named_parameters()}
    return made


def of_split(run: TrainingRun, stage: StageRun, batches: list[Batch], accumulation: int, micro_tokens: int):
    """Loss, metrics and gradients of a step on these batches."""
    run.engine.micro_tokens = micro_tokens
    step_metrics, loss = StepMetrics(), 0.0
    for stream, batch in zip(stage.plan.streams, batches, strict=True):
        loss += backward(run.engine, stream, batch, 0.5, accumulation, step_metrics)
    gradients = {}
    for name, p in run.engine.model.named_parameters():
        gradients[name] = None if p.grad is None else p.grad.clone()
        p.grad = None
    for name, p in stage.owned.named_parameters():
        gradients[f"owned.{name}"], p.grad = p.grad.clone(), None
    return loss, step_metrics.means(), gradients


def assert_split_does_not_matter(run: TrainingRun, train: dict) -> bool:
    """Gives whether there was a gradient at all."""
    stage = opened(run, train)
    perturb(run)
    batches = [
        prepare(run.engine, stream, run.rollout.draw(stage, stage.streams[k], 0, 0, 0.5), 0.5)
        for k, stream in enumerate(stage.plan.streams)
    ]
    assert all(bool(b.train_N.any()) for b in batches)
    (loss, metrics, gradients), *others = [of_split(run, stage, batches, *split) for split in SPLITS]
    for other_loss, other_metrics, other in others:
        assert other_loss == pytest.approx(loss, rel=1e-4, abs=1e-6)
        assert other_metrics == pytest.approx(metrics, rel=1e-3, abs=1e-5)
        for name, g in gradients.items():
            if g is not None:
                assert torch.allclose(other[name], g, rtol=1e-3, atol=1e-4 * float(g.abs().max()) + 1e-9), name
    return any(g is not None and bool(g.abs().max() > 0) for g in gradients.values())


def perturb(run: TrainingRun) -> None:
    """Moves the policy off the reference, and what parts own off zero, so that no term is trivially flat."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in run.engine.model.named_parameters():
            p.copy_(run.home[name] + 0.02 * torch.randn_like(p))  # type: ignore[attr-defined]
        for p in run.engine.owned.parameters():
            p.add_(0.02 * torch.randn_like(p))


@pytest.mark.parametrize("method", sorted(ROWS))
def test_the_split_does_not_matter_to_a_row_with_an_anchor(run, method):
    signal = ROWS[method].stage["signals"][0]
    name = signal["source"] if isinstance(signal["source"], str) else signal["source"]["name"]
    settings = dict(SETTINGS.get(("source", name), {}))
    if "rewards" in signal and "threshold" in settings:
        settings["threshold"] = 0.0  # a random judge finds little right
    more: dict = {"signals": {"0": {"source": settings}}} if settings else {}
    if name in ENDING:
        more["sampling"] = {"stop": list(string.ascii_letters + string.digits + string.punctuation)}
    assert assert_split_does_not_matter(run, {"method": method, "anchors": ["kl"], "batch": 6, **more})


def fitting(run: TrainingRun, objective: str, credit: str) -> dict | None:
    """A stage of one signal with the first source that both can learn from, plain ones first, and a value head if it
    takes one."""
    for source in sorted(set(AXES["source"]) - {"accepted-samples"}, key=lambda name: (name not in PLAIN, name)):
        signals = [{"source": spec("source", source), "credit": [credit], "objective": objective}]
        if objective != "value":
            signals.append({"objective": "value"})
        for n in (1, len(signals)):
            stage = {"signals": signals[:n], "batch": 3}
            try:
                assemble(StageSpec.model_validate(stage), plain_recipe(run.at))
            except ValueError:
                continue
            return stage
    return None


@pytest.mark.parametrize("objective", sorted(AXES["objective"]))
def test_the_split_does_not_matter_to_an_objective_with_any_credit(run, objective):
    tried = 0
    for credit in sorted(AXES["credit"]):
        if (stage := fitting(run, objective, credit)) is not None:
            tried += assert_split_does_not_matter(run, stage)  # some credits find nothing in such a batch
    assert tried >= 2


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "exact-forward"])
def test_the_split_does_not_matter_to_an_estimate_of_the_divergence(run, estimator):
    assert assert_split_does_not_matter(run, {"method": "grpo", "anchors": [{"name": "kl", "estimator": estimator}]})


def test_the_split_does_not_matter_to_several_signals_with_their_own_counts(run):
    signals = [
        {"name": "old", "source": "demonstrations", "objective": "nll", "weight": 0.3, "batch": 3},
        {"name": "rl", "source": "groups", "credit": ["group-zscore", "top-entropy"], "objective": "clipped-pg"},
        {"name": "pairs", "source": "preference-pairs", "objective": "dpo", "weight": {"from": 0, "to": 2}},
    ]
    assert assert_split_does_not_matter(run, {"signals": signals, "anchors": [{"name": "kl", "on": "old"}]})


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
@pytest.mark.parametrize("method", ["sft", "grpo", "dpo", "kto", "ppo"])
def test_numbers_off_the_mask_reach_neither_loss_nor_gradient(run, method, bad, monkeypatch):
    stage = opened(run, {"method": method})
    perturb(run)
    stream = stage.plan.streams[0]
    batch = prepare(run.engine, stream, run.rollout.draw(stage, stage.streams[0], 0, 0, 0.5), 0.5)
    clean_run = of_split(run, stage, [batch], *SPLITS[1])
    own = run.engine.forward

    def poisoned(b, needs, slope_N=None):
        out = own(b, needs, slope_N)
        spoil = lambda x: None if x is None else torch.where(expand(b.train_N, x), x, x * 0 + bad)  # noqa: E731
        return replace(out, logp_N=spoil(out.logp_N), entropy_N=spoil(out.entropy_N), value_NK=spoil(out.value_NK))

    monkeypatch.setattr(run.engine, "forward", poisoned)
    loss, _, gradients = of_split(run, stage, [batch], *SPLITS[1])
    assert loss == clean_run[0]
    for name, g in gradients.items():
        assert (g is None and clean_run[2][name] is None) or torch.equal(g, clean_run[2][name]), name


def expand(train_N: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return train_N.view(-1, *itertools.repeat(1, x.dim() - 1))
