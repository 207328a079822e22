"""The reference model: the policy with its adapters off where that is the same, else a second one."""

from math import log

import pytest
import torch

import tiny
from running import equal, ran, tables, weights
from scalpel.config.plan import assemble
from scalpel.config.recipe import parse
from scalpel.engine import Engine
from scalpel.methods import ROWS
from scalpel.models.adapters import adapt
from scalpel.runs.folder import RunFolder
from scalpel.training.loop import train
from scalpel.training.memory import bytes_of, estimate_memory
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun
from scalpel.training.step import StepMetrics, backward, prepare


def roles_of(name: str) -> frozenset[str]:
    """The models that a method runs beside the policy in its own stage."""
    models = {role: "m" for role in ("teacher", "weak")}
    recipe = parse({"model": "m", "models": models, "task": {"name": "t"}, "train": {"method": name}})
    return frozenset().union(*(assemble(s, recipe).roles for s in recipe.stages if s.method == name or s.name == name))


LORA = {"scope": "lora", "steps": 3, "warmup": 0.0}
ANCHORED = {**LORA, "method": "sft", "anchors": ["kl"]}
STAGES = {
    "dpo": {**LORA, "method": "dpo"},
    "exact divergence": ANCHORED,
    "dora": {**ANCHORED, "scope": {"name": "lora", "magnitude": True}},
    "estimated divergence": {**LORA, "method": "grpo", "anchors": [{"name": "kl", "estimator": "k3"}]},
    "dropout of adapters": {**ANCHORED, "scope": {"name": "lora", "dropout": 0.5}},
    "a start of its own": {**ANCHORED, "reference": "start"},
}


@pytest.fixture
def second_model(monkeypatch):
    """The plain path: a second model is loaded, whatever the scope is."""
    return lambda: monkeypatch.setattr(TrainingRun, "is_its_start", lambda self, role, index: False)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])  # gpt2 has dropout of its own
@pytest.mark.parametrize("name", STAGES)
def test_the_run_is_the_same_as_with_a_second_model(at, tmp_path, name, kind, second_model):
    recipe = tables(at, STAGES[name], kind)
    run = train(recipe, RunFolder(tmp_path / "off"))
    assert run.engine.scope_off.keys() == {"reference"} and "reference" not in run.engine.others
    found = weights(run)
    log = RunFolder(tmp_path / "off", True).records("train")
    second_model()
    expected, plain = ran(recipe, tmp_path / "two")
    for name, x in expected.items():
        torch.testing.assert_close(found[name], x, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    for line, other in zip(log, plain, strict=True):
        assert line["loss"] == pytest.approx(other["loss"], rel=1e-5, abs=1e-7)
        assert line["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-4)


def opened(at, stage: dict, **over) -> tuple[TrainingRun, StageRun]:
    run = TrainingRun(tables(at, stage, **over))
    return run, run.enter(0)


def moved(run: TrainingRun, stage: StageRun) -> None:
    with torch.no_grad():
        for m in stage.scope.trainables:
            m.value.add_(0.1 * torch.randn_like(m.value))


def test_gradients_are_those_beside_a_second_model(at, second_model):
    found = []
    for way in range(2):
        if way:
            second_model()
        run, stage = opened(at, {**ANCHORED, "anchors": [{"name": "kl", "estimator": "exact-forward"}]})
        torch.manual_seed(0)
        moved(run, stage)
        stream, batch = stage.plan.streams[0], run.rollout.draw(stage, stage.streams[0], 0, 0, 0.5)
        step_metrics = StepMetrics()
        loss = backward(run.engine, stream, batch, 0.5, 2, step_metrics)
        grads = {m.name: m.value.grad for m in stage.scope.trainables}
        found.append((loss, step_metrics.means()["kl"], grads))
        assert all(m.value.requires_grad for m in stage.scope.trainables)
    (loss, kl, grads), (loss2, kl2, grads2) = found
    assert (loss, kl) == pytest.approx((loss2, kl2), rel=1e-5) and kl > 1e-3
    for name, g in grads2.items():
        torch.testing.assert_close(grads[name], g, rtol=1e-5, atol=1e-5 * float(g.abs().max()))


def test_switched_off_it_is_the_base_bit_for_bit_and_switched_on_what_it_was(at):
    run, stage = opened(at, {**LORA, "method": "dpo"})
    base = Engine(run.models.load(run.recipe.model)[0], run.engine.tokens)
    moved(run, stage)
    batch = run.rollout.draw(stage, stage.streams[0], 0, 0, 0.5)
    before = run.engine.score(batch).logp_N
    run.engine.model.train()
    reference = prepare(run.engine, stage.plan.streams[0], batch, 0.5).reference_N
    assert run.engine.model.training
    assert reference is not None and torch.equal(reference, base.score(batch).logp_N)
    assert torch.equal(run.engine.score(batch).logp_N, before) and not torch.equal(before, reference)


def test_the_memory_of_a_second_model_is_saved(at, second_model):
    run, stage = opened(at, ANCHORED)
    assert estimate_memory(run, stage, 0.0).others == 0.0
    second_model()
    run, stage = opened(at, ANCHORED)
    memory = estimate_memory(run, stage, 0.0)
    assert memory.others == bytes_of(run.models.load(run.recipe.model)[0].parameters())


def test_an_adapter_on_the_head_can_not_be_switched_off_since_the_head_is_read_apart():
    for targets, expected in ((["lm_head"], False), (["q_proj"], True)):
        model = tiny.model(tie_word_embeddings=False)
        assert (adapt(model, "lora", {"r": 2, "target_modules": targets}, 0).off is not None) == expected


@pytest.mark.parametrize("scope", ["all", "hft", "components", "lift"])
def test_weights_that_move_themselves_take_a_second_model(at, scope):
    run, _ = opened(at, {**ANCHORED, "scope": scope})
    assert not run.engine.scope_off and "reference" in run.engine.others


def test_another_model_as_reference_is_loaded(at):
    teacher = str(at / "teacher")
    for stage, more in (({**ANCHORED, "reference": teacher}, {}), (ANCHORED, {"models": {"reference": teacher}})):
        run, _ = opened(at, stage, **more)
        assert not run.engine.scope_off and "reference" in run.engine.others


def test_a_later_stage_is_its_own_reference_only_where_it_starts_there(at):
    later = {"start": ANCHORED, "base": {**ANCHORED, "reference": "base"}}
    later["start"] = {**ANCHORED, "reference": "start"}
    found = {}
    for name, second in later.items():
        run = TrainingRun(tables(at, [ANCHORED, second]))
        run.leave(run.enter(0))
        run.enter(1)
        found[name] = set(run.engine.scope_off)
    assert found == {"start": {"reference"}, "base": set()}
    run = TrainingRun(tables(at, [ANCHORED, {**ANCHORED, "start": "base"}]))
    run.plans = [assemble(spec, run.recipe) for spec in run.recipe.stages]
    run.leave(run.enter(0))
    run.enter(1)
    assert set(run.engine.scope_off) == {"reference"}


def test_the_switch_survives_resuming(at, tmp_path):
    later = {**ANCHORED, "reference": "start", "steps": 4, "checkpoint_every": 1}
    recipe = tables(at, [{**LORA, "method": "sft"}, later])
    expected, log = ran(recipe, tmp_path / "whole")

    def stop(record) -> None:
        if record["step"] == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(recipe, RunFolder(tmp_path / "cut"), tell=stop)
    found, lines = ran(recipe, tmp_path / "cut", resume=True)
    assert lines == log and equal(found, expected)


READING = [name for name in ROWS if "reference" in roles_of(name)]


@pytest.mark.parametrize("name", READING)
def test_rows_that_read_the_reference_refer_to_the_model_with_which_they_start(name):
    assert ROWS[name].stage["reference"] == "start"


def test_rows_that_read_the_reference_are_all_found():
    assert {"dpo", "kto", "grpo-d", "cls-rl", "cls-rl-no-thinking", "superhf", "s3ft", "spin"} <= set(READING)


@pytest.mark.parametrize(("reference", "margin"), [("start", 0.0), ("base", 1e-3)])
def test_dpo_after_another_stage_starts_with_an_implicit_reward_of_zero(at, reference, margin):
    """The policy is its own reference there; measured from the base, what the first stage learnt counts as well."""
    own = {} if reference == "start" else {"reference": "base"}
    records: list = []
    train(tables(at, [{"method": "sft", "steps": 3}, {"method": "dpo", "steps": 1, **own}]), tell=records.append)
    assert records[3]["stage"] == "dpo"
    moved = abs(records[3]["loss"] - log(2))
    assert moved < 1e-6 if reference == "start" else moved > margin


@pytest.mark.parametrize("scope", ["all", "lora"])
@pytest.mark.parametrize(
    ("stages", "models"),
    [
        ([{"method": "dpo"}], 1),
        ([{"method": "sft"}, {"method": "dpo", "start": "base"}], 1),
        ([{"method": "sft"}, {"method": "dpo"}], 2),
        ([{"method": "expert-iteration", "repeat": 2}], 2),
    ],
)
def test_a_floor_and_the_start_of_a_stage_share_one_frozen_model_where_that_is_the_base(
    at, stages, models, scope, monkeypatch
):
    """The floor's divergence is from the base; in the first stage the start is the base, and no copy is held."""
    monkeypatch.setattr(TrainingRun, "open_floor", lambda self, spec, index, saved: None)  # nothing is measured
    sets = [{"name": "reverse", "task": {"name": "world/reverse"}, "n": 2}]
    keep = {"floor": 0.9, "sets": sets, "documents": 2, "max_tokens": 8}
    made = tables(at, [{"steps": 1, "scope": scope, **stage} for stage in stages], keep=keep)
    run = TrainingRun(made)
    last = len(run.plans) - 1
    for index in range(last):
        run.leave(run.enter(index))
    stage = run.enter(last)
    beside = {id(policy.transformer): policy for policy in run.engine.others.values()}
    assert len(beside) == models - len(set(run.engine.scope_off) & {"reference"})
    assert estimate_memory(run, stage, 0.0).others == len(beside) * bytes_of(run.models.base().parameters())
