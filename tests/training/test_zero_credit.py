"""What has no credit does not go through the model, and nobody can tell but by the cost."""

from dataclasses import replace

import pytest
import torch

from running import equal, opened, ran, tables, weights
from scalpel.batch import Batch
from scalpel.config.plan import Signal
from scalpel.part import Bound, Part, bind
from scalpel.runs.folder import RunFolder
from scalpel.training import step
from scalpel.training.loop import train
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun
from scalpel.training.step import StepMetrics, backward, prepare
from scalpel.training.zero_credit import CreditedPart, credited_part, known_credits

NEVER = "def never(completions, **columns):\n    return [0.0] * len(completions)\n"
ONCE = (
    "def once(completions, trainer_state, **columns):\n"
    "    here = trainer_state.global_step == 0\n"
    "    return [float(here and k % 2) for k in range(len(completions))]\n"
)


def plain(stream, batch: Batch, progress: float) -> CreditedPart:
    """Everything goes through the model."""
    return CreditedPart(batch, known_credits(stream, batch, progress))


def passed(run: TrainingRun, stream, batch: Batch, monkeypatch=None, accumulation: int = 1) -> dict:
    """A step's loss, gradients, metrics and cost; with `monkeypatch`, along the plain path."""
    if monkeypatch:
        monkeypatch.setattr(step, "credited_part", plain)
    step_metrics, before = StepMetrics(), run.engine.meter.flops
    loss = backward(run.engine, stream, batch, 0.5, accumulation, step_metrics)
    gradients = {name: p.grad for name, p in run.engine.model.named_parameters() if p.grad is not None}
    run.engine.model.zero_grad(set_to_none=True)
    if monkeypatch:
        monkeypatch.undo()
    return {"loss": loss, "gradients": gradients, "flops": run.engine.meter.flops - before, **step_metrics.means()}


def assert_same(found: dict, expected: dict) -> None:
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5, abs=1e-7)
    assert found["gradients"].keys() == expected["gradients"].keys() != set()
    for name, g in expected["gradients"].items():
        torch.testing.assert_close(
            found["gradients"][name], g, rtol=1e-5, atol=1e-5 * float(g.abs().max()), msg=lambda m, n=name: f"{n}: {m}"
        )


def sampled(run: TrainingRun, stage: StageRun, equal_groups: int) -> Batch:
    """A batch of which the samples of the first few groups all got the same reward."""
    stream = stage.plan.streams[0]
    batch = prepare(run.engine, stream, run.rollout.draw(stage, stage.streams[0], 0, 0, 0.5), 0.5)
    reward_SK = torch.linspace(0, 1, batch.S).roll(3)[:, None].clone()
    reward_SK[batch.group_S < equal_groups] = 0.5
    return replace(batch, reward_SK=reward_SK)


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("average", ["sequence", "token", "constant"])
@pytest.mark.parametrize("credit", ["group-zscore", "group-mean"])
def test_a_group_of_equal_rewards_is_left_out_at_the_same_loss_and_gradient(
    run, credit, average, accumulation, monkeypatch
):
    objective = {"name": "clipped-pg", "average": average}
    stage = opened(run, {"signals": [{"source": "groups", "credit": [credit], "objective": objective}]})
    stream, batch = stage.plan.streams[0], sampled(run, stage, 2)
    expected = passed(run, stream, batch, monkeypatch, accumulation)
    found = passed(run, stream, batch, accumulation=accumulation)
    assert_same(found, expected)
    kept = float(batch.train_N[batch.broadcast(batch.group_S) >= 2].sum())
    assert found["tokens_left_out_share"] == pytest.approx(1 - kept / float(batch.train_N.sum()))
    assert found["flops"] < 0.8 * expected["flops"] and expected["tokens_left_out_share"] == 0


def test_a_sample_at_the_mean_of_its_group_is_left_out_and_the_others_keep_their_credit(run, monkeypatch):
    stage = opened(
        run, {"signals": [{"source": "groups", "credit": ["group-mean"], "objective": "clipped-pg"}], "batch": 2}
    )
    stream, batch = stage.plan.streams[0], sampled(run, stage, 0)
    rewards = torch.tensor([0.0, 0.5, 1.0, 0.5, 0.5, 0.0, 1.0, 0.5]).repeat(2)
    batch = replace(batch, reward_SK=rewards[:, None])
    assert credited_part(stream, batch, 0.5).batch.S == 8
    assert_same(passed(run, stream, batch), passed(run, stream, batch, monkeypatch))


def test_a_batch_used_again_leaves_out_the_same_groups(run, monkeypatch):
    signal = {"source": "groups", "credit": ["group-zscore"], "objective": "clipped-pg", "updates_per_batch": 2}
    stage = opened(run, {"signals": [signal]})
    stream, batch = stage.plan.streams[0], sampled(run, stage, 2)
    assert batch.old_N is not None
    torch.manual_seed(0)
    with torch.no_grad():  # the policy has moved since: ratios are not one
        for p in run.engine.model.parameters():
            p.add_(0.01 * torch.randn_like(p))
    found = passed(run, stream, batch)
    assert_same(found, passed(run, stream, batch, monkeypatch))
    assert found["ratio"] != pytest.approx(1.0, abs=1e-4) and found["tokens_left_out_share"] > 0


def test_metrics_are_over_what_went_through_the_model(run):
    stage = opened(run, {"method": "grpo"})
    stream, batch = stage.plan.streams[0], sampled(run, stage, 3)
    left = credited_part(stream, batch, 0.5).batch
    found = passed(run, stream, batch)
    again = passed(run, stream, replace(left, whole_S=None))
    assert found["surrogate"] == pytest.approx(again["surrogate"], rel=1e-5, abs=1e-7)
    assert found["ratio"] == pytest.approx(1.0)


# --- single tokens ------------------------------------------------------------------------------------------


def every_third(out, batch: Batch) -> torch.Tensor:
    return (torch.arange(batch.N, device=batch.ids_N.device) % 3 == 0).float()


THIRD = Bound(Part("credit", "every-third", every_third), {})


def with_credits(stream, *credits: Bound, **changes):
    """The flow with other credits on its first signal."""
    first = replace(stream.signals[0], credits=credits, **changes)
    return replace(stream, signals=(first, *stream.signals[1:]))


@pytest.mark.parametrize("method", ["sft", "grpo", "distill"])
def test_a_token_without_credit_does_not_reach_the_head(run, method, monkeypatch):
    stage = opened(run, {"method": method})
    stream, batch = with_credits(stage.plan.streams[0], THIRD), run.rollout.draw(stage, stage.streams[0], 0, 0, 0.5)
    expected, found = passed(run, stream, batch, monkeypatch), passed(run, stream, batch)
    assert_same(found, expected)
    asked = credited_part(stream, batch, 0.5).batch
    assert 0 < int(asked.train_N.sum()) == int((batch.train_N & (every_third(None, batch) > 0)).sum())


def test_tokens_are_left_out_beside_a_credit_of_each_token_alone(run, monkeypatch):
    stage = opened(run, {"method": "sft"})
    stream, batch = with_credits(stage.plan.streams[0], THIRD, bind("credit", "own-probability")), None
    batch = run.rollout.draw(stage, stage.streams[0], 0, 0, 0.5)
    found = passed(run, stream, batch)
    assert_same(found, passed(run, stream, batch, monkeypatch))
    assert found["tokens_left_out_share"] > 0.5


def test_beside_a_credit_that_ranks_tokens_only_whole_sequences_are_left_out(run, monkeypatch):
    stage = opened(run, {"method": "grpo"})
    ranked = bind("credit", "top-entropy", share=0.4)
    stream, batch = with_credits(stage.plan.streams[0], ranked, bind("credit", "group-zscore")), sampled(run, stage, 2)
    found = passed(run, stream, batch)
    assert_same(found, passed(run, stream, batch, monkeypatch))
    assert 0 < found["tokens_left_out_share"] < 1
    assert credited_part(with_credits(stream, ranked, THIRD), batch, 0.5).left_out == 0


def test_a_token_is_left_out_only_where_no_signal_credits_it(run, monkeypatch):
    stage = opened(run, {"method": "sft"})
    stream, batch = stage.plan.streams[0], run.rollout.draw(stage, stage.streams[0], 0, 0, 0.5)
    late = Bound(Part("credit", "late", lambda out, b: (torch.arange(b.N) % 3 > 1).float()), {})
    one, other = (Signal(n, (c,), bind("objective", "nll"), (), 1.0) for n, c in (("a", THIRD), ("b", late)))
    stream = replace(stream, signals=(one, other))
    found = passed(run, stream, batch)
    assert_same(found, passed(run, stream, batch, monkeypatch))
    assert found["tokens_left_out_share"] == pytest.approx(
        float((batch.train_N & (torch.arange(batch.N) % 3 == 1)).sum() / batch.train_N.sum())
    )


# --- where something learns from zero credit all the same ---------------------------------------------------


@pytest.mark.parametrize(
    "stage",
    [
        {"method": "grpo", "anchors": ["kl"]},
        {"method": "ppo"},
        {"method": "dpo"},
        {
            "signals": [
                {"source": "groups", "credit": ["group-zscore"], "objective": "clipped-pg"},
                {"objective": "value"},
            ]
        },
    ],
    ids=["an anchor on outputs", "ppo", "dpo", "a value head"],
)
def test_nothing_is_left_out_where_a_loss_does_not_vanish_with_the_credit(run, stage):
    stage = opened(run, stage)
    stream = stage.plan.streams[0]
    batch = prepare(run.engine, stream, run.rollout.draw(stage, stage.streams[0], 0, 0, 0.5), 0.5)
    batch = replace(batch, reward_SK=torch.ones(batch.S, 1))
    assert stream.vanishing(0.5) is None and credited_part(stream, batch, 0.5).batch is batch
    assert "tokens_left_out_share" not in passed(run, stream, batch)


# --- steps in which nothing is left -------------------------------------------------------------------------


def rewarded(at, tmp_path, code: str, name: str, stage: dict):
    (tmp_path / f"{name}.py").write_text(code)
    return tables(at, {"method": "grpo", "steps": 3, **stage}, data={"rewards": [f"{tmp_path / name}.py:{name}"]})


@pytest.mark.parametrize("way", ["left out", "plain"])
@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop", "sgd"])
def test_a_step_without_any_credit_moves_nothing_by_momentum_or_decay_either(at, tmp_path, optimizer, way, monkeypatch):
    if way == "plain":
        monkeypatch.setattr(step, "credited_part", plain)
    stage = {"optimizer": optimizer, "weight_decay": 0.1, "warmup": 0.0}
    recipe = rewarded(at, tmp_path, ONCE, "once", stage)
    after: list = []

    def watch(run, stage, state) -> bool:
        after.append(weights(run))
        return False

    train(recipe, RunFolder(tmp_path / "run"), watch=watch)
    base, first, second, third = after
    assert not equal(base, first) and equal(first, second) and equal(second, third)
    lines = RunFolder(tmp_path / "run", True).records("train")
    assert [line["gradient_norm"] > 0 for line in lines] == [True, False, False]
    trained = [line["tokens_trained"] for line in lines]
    assert (trained[0] == trained[2]) == (way == "left out")


@pytest.mark.parametrize("reuse", [1, 2])
@pytest.mark.parametrize("unit", ["flops", "tokens"])
def test_a_run_in_which_nothing_ever_succeeds_ends_when_its_budget_is_spent(at, tmp_path, unit, reuse):
    amount = {"flops": 1e8, "tokens": 900}[unit]
    stage = {"budget": {"unit": unit, "amount": amount}, "signals": {"0": {"updates_per_batch": reuse}}}
    _, log = ran(rewarded(at, tmp_path, NEVER, "never", stage), tmp_path / "run")
    assert len(log) > 2 and log[-1]["tokens_left_out_share"] == 1.0 and log[-1]["tokens_trained"] == 0
