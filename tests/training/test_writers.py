"""Those that write for a source: the policy, the models of earlier stages, and others of the recipe."""

from typing import Any

import pytest
import torch

from running import equal, ran, tables, weights
from scalpel.engine import Engine, Sampling
from scalpel.runs.folder import RunFolder
from scalpel.sources.context import SourceContext
from scalpel.training.estimate import estimate
from scalpel.training.loop import train
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun

PLAY = {"name": "self-play", "writer": "previous", "earlier": 0.5}
STAGE: dict[str, Any] = {
    "signals": [{"source": PLAY, "credit": ["constant"], "objective": "dpo"}],
    "steps": 2,
    "warmup": 0.0,
}


def of(run: TrainingRun, role: str) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in run.engine.others[role].transformer.named_parameters()}


def handed(run: TrainingRun, stage: StageRun) -> tuple[SourceContext, list[list[int]]]:
    """What the stage's source is handed, and its prompts."""
    seen: list[SourceContext] = []

    def hand(context: SourceContext) -> SourceContext:
        seen.append(context)
        return context

    run.rollout.draw(stage, stage.streams[0], 0, 0, 0.0, hand)
    return seen[0], [run.engine.tokens.prompt(e.prompt) for e in seen[0].examples]


@pytest.mark.parametrize("start", ["previous", "base"])
def test_previous_and_earlier_are_what_the_last_two_stages_ended_with(at, start):
    run = TrainingRun(tables(at, [STAGE, STAGE, {**STAGE, "start": start}]))
    base = weights(run)
    ends: list[dict[str, torch.Tensor]] = []
    for index in range(3):
        stage = run.enter(index)
        before = [base, base, *ends]
        assert equal(of(run, "previous"), before[-1]) and equal(of(run, "earlier"), before[-2])
        with torch.no_grad():
            next(iter(stage.scope.trainables)).weight.add_(1.0)
        run.leave(stage)
        ends.append(weights(run))
    assert not run.engine.scope_off


def test_nothing_is_kept_of_a_stage_that_nobody_asks_for(at):
    run = TrainingRun(tables(at, [{"method": "sft"}, {"method": "sft"}]))
    run.leave(run.enter(0))
    assert run.ends == {}


def test_what_a_role_writes_is_what_its_model_writes_and_it_is_paid_for(at):
    run = TrainingRun(tables(at, {"method": "sequence-distillation"}))
    context, prompts = handed(run, run.enter(0))
    teacher = Engine(run.models.load(run.recipe.models["teacher"])[0], run.engine.tokens)
    before = run.engine.meter.tokens_sampled
    found = context.by("teacher")(prompts, 2, 5)
    written = zip(prompts, teacher.sample(prompts, Sampling(6, temperature=0.0), 2, 5), strict=True)
    assert found == [[s.behind(p) for s in group] for p, group in written] != context.by("policy")(prompts, 2, 5)
    written = sum(len(s.ids) for group in found for s in group)
    assert run.engine.meter.tokens_sampled >= before + written


def test_a_sequence_is_distilled_from_what_the_teacher_holds_likeliest(at):
    run = TrainingRun(tables(at, {"method": "sequence-distillation"}))
    context, prompts = handed(run, run.enter(0))
    drawn = [context.by("teacher")(prompts, 3, seed) for seed in (5, 6)]
    assert drawn[0] == drawn[1] and all(group == [group[0]] * 3 for group in drawn[0])


def test_with_adapters_the_reference_that_writes_is_the_policy_without_them(at):
    lora = {"method": "spin", "scope": "lora"}
    run = TrainingRun(tables(at, lora))
    stage = run.enter(0)
    assert run.engine.scope_off.keys() == {"reference"} and not run.engine.others
    context, prompts = handed(run, stage)
    before = context.by("policy")(prompts, 2, 5)
    with torch.no_grad():
        for m in stage.scope.trainables:
            m.value.add_(0.3)
    assert context.by("reference")(prompts, 2, 5) == before != context.by("policy")(prompts, 2, 5)


@pytest.mark.parametrize("method", ["spin", "rest-em", "rft"])
def test_a_run_over_several_stages_is_resumed_bit_for_bit(at, tmp_path, method):
    rewarded = {"method": method, "steps": 2, "learning_rate": 1e-2, "checkpoint_every": 1, "batch": 3}
    if method != "spin":
        rewarded["signals"] = {"0": {"source": {"size": 4, "threshold": 0.0}}}
    recipe = tables(at, rewarded)
    expected, log = ran(recipe, tmp_path / "whole")

    def stop(record) -> None:
        if record["step"] == len(log) - 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(recipe, RunFolder(tmp_path / "cut"), tell=stop)
    found, lines = ran(recipe, tmp_path / "cut", resume=True)
    assert lines == log and equal(found, expected)
    stages = list(dict.fromkeys(line["stage"] for line in log))
    assert len(log) == 2 * len(stages) and len(stages) > 1


def test_the_estimate_counts_what_another_model_writes(at):
    run = TrainingRun(tables(at, {"method": "sequence-distillation"}))
    found = estimate(run, run.enter(0))
    assert found.sampled_a_step == 4 * 6 and found.trained_a_step > 0


def test_a_judge_of_the_recipe_is_asked_in_the_loop_and_paid_for(at, tmp_path):
    signals = {"0": {"source": {"size": 3}, "rewards": [{"name": "judge", "role": "judge"}]}}
    recipe = tables(at, {"method": "self-judged", "signals": signals, "steps": 1})
    run = TrainingRun(recipe)
    stage = run.enter(0)
    processed = run.engine.meter.tokens_processed
    run.rollout.draw(stage, stage.streams[0], 0, 0, 0.0)
    assert run.engine.meter.tokens_processed > processed
    _, (line,) = ran(recipe, tmp_path / "run")
    assert 0.0 < line["rewards/judge/mean"] < 1.0


def test_chances_are_those_of_the_answers_among_each_other(at):
    run = TrainingRun(tables(at, {"method": "sft"}))
    run.enter(0)
    tokens = run.engine.tokens
    (found,) = run.rollout.chances("policy", ["ab"], ["yes", "no", "so"])
    logp = [sum(run.engine.logps([(tokens.prompt("ab"), tokens.completion(a, "ab"))])[0]) for a in ("yes", "no", "so")]
    expected = torch.tensor(logp, dtype=torch.float64).softmax(0).tolist()
    assert found == pytest.approx(expected, rel=1e-5) and sum(found) == pytest.approx(1.0)


# --- nothing accepted -----------------------------------------------------------------------------------------


def warned(caplog) -> list[str]:
    found = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    return [words for words in found if "were cut off at" not in words]  # as all samples of this model are


@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_that_accepts_nothing_says_so_early_and_once(at, tmp_path, caplog, resumed):
    signals = {"0": {"source": {"size": 3, "threshold": 2.0}}}
    stage = {"method": "rejection-sampling", "steps": 8, "batch": 2, "signals": signals, "checkpoint_every": 1}
    recipe = tables(at, stage)

    def stop(record) -> None:
        if resumed and record["step"] == 3:
            raise InterruptedError

    if resumed:
        with pytest.raises(InterruptedError):
            train(recipe, RunFolder(tmp_path / "run"), tell=stop)
        assert not warned(caplog)
    train(recipe, RunFolder(tmp_path / "run", resumed), resume=resumed)
    (words,) = warned(caplog)
    # 3 samples of 2 prompts, 5 times
    assert "source 'accepted-samples' has kept nothing of 30 samples (pass rate" in words
    assert all(way in words for way in ("max_tokens", "easier items", "threshold", "'prefix-rft'", "max_length"))


def test_a_run_that_accepts_something_or_takes_what_is_given_says_nothing(at, caplog):
    signals = {"0": {"source": {"size": 8, "threshold": 0.0}}}
    stages = [{"method": "rejection-sampling", "steps": 6, "signals": signals}, {"method": "sft", "steps": 6}]
    run = train(tables(at, stages[0]))
    assert run.engine.meter.tokens_trained > 0 and not warned(caplog)
    train(tables(at, stages[1]))
    assert not warned(caplog)


def test_a_source_that_nobody_judges_says_so_without_a_pass_rate(at, caplog, monkeypatch):
    # as where only rows beyond those that are looked at beforehand come to nothing
    monkeypatch.setattr("scalpel.training.lengths.Lengths.refuse_nothing", lambda self: None)
    train(tables(at, {"method": "sft", "steps": 6, "max_length": 2, "truncation": "drop"}))
    words = warned(caplog)[-1]
    assert "source 'demonstrations' has kept nothing to train on" in words and "raise max_length" in words
