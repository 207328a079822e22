"""Stages: where they start, what they are held against, which optimiser they go on with; and validation."""

import pytest
import torch

import tiny
from running import equal, ran, records, tables, weights
from scalpel import models
from scalpel.runs.folder import RunFolder
from scalpel.training.loop import train
from scalpel.training.run import TrainingRun

ONE = {"method": "sft", "steps": 2, "schedule": "constant", "warmup": 0.0}


def test_a_stage_goes_on_from_the_one_before(at):
    # SGD without momentum has no state, so two stages of two steps are the steps of both
    plain = {**ONE, "optimizer": "sgd", "betas": [0.0, 0.9]}
    both = weights(train(tables(at, [plain, plain])))
    first = train(tables(at, plain))
    assert not equal(both, weights(first))


def test_a_stage_may_start_from_the_base_again(at):
    second = {**ONE, "start": "base"}
    run = TrainingRun(tables(at, [ONE, second]))
    base = weights(run)
    for index in range(2):
        stage = run.enter(index)
        assert equal(weights(run), base)
        with torch.no_grad():
            next(iter(stage.scope.trainables)).weight.add_(1.0)
        run.leave(stage)
    assert not equal(weights(run), base)


def test_a_stage_may_start_from_a_folder(at):
    run = TrainingRun(tables(at, {**ONE, "start": str(at / "teacher")}))
    run.enter(0)
    theirs = {n: p.detach() for n, p in models.load(at / "teacher")[0].named_parameters()}
    assert equal(weights(run), theirs)


@pytest.mark.parametrize("scope", ["all", "lora"])
def test_a_blended_stage_ends_on_the_line_from_the_base_to_what_it_learnt(at, scope):
    base = weights(TrainingRun(tables(at, ONE)))
    tuned, half = (weights(train(tables(at, {**ONE, "scope": scope, "blend": t}))) for t in (1.0, 0.5))
    assert not equal(tuned, base)
    for name, x in half.items():
        torch.testing.assert_close(x, (base[name] + tuned[name]) / 2)


def test_a_start_of_another_shape_is_refused(at, tmp_path):
    other = tiny.folder(tmp_path / "other", "llama", num_hidden_layers=1)
    with pytest.raises(ValueError, match=r"start .* is another architecture .*tensors differ, first"):
        TrainingRun(tables(at, {**ONE, "start": str(other)})).enter(0)


def divergences(at, tmp_path, reference: str) -> list[float]:
    held = {**ONE, "reference": reference, "anchors": [{"name": "kl", "beta": 0.0}]}
    _, log = ran(tables(at, [{**ONE, "steps": 4}, held]), tmp_path / reference.rpartition("/")[2])
    return [line["kl"] for line in log if "kl" in line]


def test_the_reference_is_the_base_the_start_of_the_stage_or_a_folder(at, tmp_path):
    assert divergences(at, tmp_path, "start")[0] == pytest.approx(0.0, abs=1e-6)
    assert divergences(at, tmp_path, "base")[0] > 1e-3
    assert divergences(at, tmp_path, str(at / "teacher"))[0] > 1e-3


@pytest.mark.parametrize("scope", ["all", "lora", "hft", "components", {"name": "lift", "interval": 1}])
def test_a_reference_at_the_start_fits_a_stage_of_any_scope(at, tmp_path, scope):
    stage = {**ONE, "scope": scope}
    held = {**stage, "reference": "start", "anchors": ["kl"]}
    _, log = ran(tables(at, [stage, held, held]), tmp_path)
    firsts = [line["kl"] for line in log if line["step"] in (3, 5)]
    assert firsts == pytest.approx([0.0, 0.0], abs=1e-6)
    assert [line["stage"] for line in log] == ["sft", "sft", "sft.2", "sft.2", "sft.3", "sft.3"]


def test_a_reference_does_not_move(at):
    run = TrainingRun(tables(at, {**ONE, "anchors": ["kl"]}))
    run.enter(0)
    assert not any(p.requires_grad for p in run.engine.others["reference"].parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop", "sgd"])
def test_two_stages_with_the_optimiser_kept_are_one_stage_of_their_length(at, optimizer):
    # all items in each batch, so that order does not matter; constant rate, no warm-up
    n = len(TrainingRun(tables(at, ONE)).rollout.data(None)[1])
    stage = {**ONE, "batch": n, "optimizer": optimizer}
    one = weights(train(tables(at, {**stage, "steps": 4})))
    kept = weights(train(tables(at, {**stage, "repeat": 2, "keep_optimiser": True})))
    dropped = weights(train(tables(at, {**stage, "repeat": 2})))
    gap = lambda x: max(float((one[n] - x[n]).abs().max()) for n in one)  # noqa: E731
    assert gap(kept) < 1e-4 < gap(dropped)


def test_what_moved_in_the_stage_before_keeps_its_state_and_the_rest_starts_anew(at):
    run = TrainingRun(tables(at, [{**ONE, "scope": "components"}, {**ONE, "keep_optimiser": True}]))
    stage = run.enter(0)
    for m in stage.scope.trainables:
        m.value.grad = torch.ones_like(m.value)
    stage.optimiser.step()
    run.leave(stage)
    later = run.enter(1)
    known = {n for n, p in later.named().items() if p in later.optimiser.state}
    assert known == {m.name for m in stage.scope.trainables} and len(known) < len(later.scope.trainables)


def test_a_value_head_goes_on_with_its_optimiser(at):
    run = TrainingRun(tables(at, {"method": "ppo", "repeat": 2, "keep_optimiser": True}))
    stage = run.enter(0)
    head = stage.owned["value"]
    run.leave(stage)
    assert run.enter(1).owned["value"] is head


def test_adapters_of_a_stage_are_saved_and_folded_before_the_next(at, tmp_path):
    run = train(tables(at, [{**ONE, "scope": "lora"}, ONE]), RunFolder(tmp_path / "run"))
    assert not any("lora" in name for name in weights(run))
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").exists()


# --- anchors on parameters, where the scope redraws ---------------------------------------------------------


@pytest.mark.parametrize("scope", [{"name": "hft", "round": 1}, {"name": "lift", "interval": 1, "share": 0.3}])
def test_home_is_where_each_weight_was_when_the_stage_began_however_often_the_scope_redraws(at, scope):
    base = weights(TrainingRun(tables(at, ONE)))
    seen = set()

    def watch(run, stage, state) -> bool:
        for m in stage.scope.trainables:
            whole = base[m.name] if m.index is None else base[m.name].view(-1)[m.index]
            assert torch.equal(stage.at(stage.home)[m.name], whole)
            seen.add((state.global_step, m.name))
        return False

    train(tables(at, {**ONE, "steps": 4, "scope": scope, "anchors": ["l2"]}), watch=watch)
    assert len({step for step, _ in seen}) == 5


# --- validation ---------------------------------------------------------------------------------------------


def scripted(monkeypatch, values) -> None:
    """Validation finds these accuracies, one after the other."""
    left = iter(values)
    monkeypatch.setattr("scalpel.training.run.accuracy", lambda *args: next(left))


@pytest.mark.parametrize(
    "scope", ["all", "lora", "components", {"name": "hft", "round": 1}, {"name": "lift", "interval": 1, "share": 0.3}]
)
def test_patience_ends_the_stage_and_the_best_weights_come_back(at, tmp_path, scope, monkeypatch):
    scripted(monkeypatch, [0.2, 0.6, 0.5, 0.6, 0.9])
    stage = {**ONE, "steps": 9, "scope": scope}
    validated = tables(at, {**stage, "validate": {"every": 1, "items": 2, "patience": 2}})
    run = train(validated, RunFolder(tmp_path / "a"))
    log = records(tmp_path / "a")
    assert [line["validation/accuracy"] for line in log] == [0.2, 0.6, 0.5, 0.6]  # a tie is no new best
    assert [line["validation/best"] for line in log] == [0.2, 0.6, 0.6, 0.6]
    stop = lambda run, stage, state: state.global_step == 2  # noqa: E731
    best = weights(train(tables(at, stage), watch=stop))
    assert equal(weights(run), best)


def test_the_modules_that_parts_own_come_back_with_the_best_weights(at, monkeypatch):
    """A value head that was trained beyond the best step would belong to another policy."""
    scripted(monkeypatch, [0.2, 0.6, 0.5, 0.6])
    stage = {"method": "ppo", "steps": 9, "batch": 2, "sampling": {"max_tokens": 4}}
    validated = train(tables(at, {**stage, "validate": {"every": 1, "items": 2, "patience": 2}}))
    heads = []

    def watch(run, stage, state) -> bool:
        heads.append({name: x.clone() for name, x in run.engine.owned.state_dict().items()})
        return state.global_step == 3

    train(tables(at, stage), watch=watch)
    assert heads[2] and not equal(heads[2], heads[3])
    assert equal(validated.engine.owned.state_dict(), heads[2])


def test_without_patience_validation_only_watches(at, tmp_path, monkeypatch):
    scripted(monkeypatch, [0.9, 0.1])
    stage = {**ONE, "steps": 4}
    watched, log = ran(tables(at, {**stage, "validate": {"every": 2, "items": 2}}), tmp_path)
    assert [line.get("validation/accuracy") for line in log] == [None, 0.9, None, 0.1]
    assert equal(watched, weights(train(tables(at, stage))))


def test_validation_asks_tuning_items_greedily_and_is_paid_for(at, tmp_path):
    asked = []

    def watch(run, stage, state) -> bool:
        if state.global_step == 0:
            own = run.engine.sample
            run.engine.sample = lambda prompts, sampling, *a: (
                asked.append((prompts, sampling)) or own(prompts, sampling)
            )
        return False

    recipe = tables(at, {**ONE, "validate": {"every": 2, "items": 3}})
    run = train(recipe, RunFolder(tmp_path / "a"), watch=watch)
    ((prompts, sampling),) = asked
    items = run.rollout.task.examples("tune", 3, 0)
    assert prompts == [run.engine.tokens.prompt(e.prompt) for e in items] and sampling.temperature == 0.0
    assert run.engine.meter.tokens_sampled > 0


def test_a_task_without_tuning_items_can_not_validate(at):
    recipe = tables(at, {**ONE, "validate": {"every": 1}}, task={"shares": {"train": 1.0, "tune": 0.0}})
    with pytest.raises(ValueError, match="no tuning items to validate on: leave out `validate`"):
        train(recipe)


# --- budgets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "key"), [("flops", "flops"), ("tokens", None)])
def test_a_budget_ends_each_stage_once_it_is_spent(at, tmp_path, unit, key):
    step = records_of(at, tmp_path / "one", {**ONE, "steps": 1})[0]
    spent = lambda line: line["flops"] if key else line["tokens_processed"] + line["tokens_sampled"]  # noqa: E731
    stage = {**ONE, "budget": {"unit": unit, "amount": 2.5 * spent(step)}, "repeat": 2}
    log = records_of(at, tmp_path / "two", stage)
    firsts = [line for line in log if line["stage"] == "sft"]
    seconds = [line for line in log if line["stage"] == "sft.2"]
    assert spent(firsts[-2]) < 2.5 * spent(step) <= spent(firsts[-1])
    assert spent(seconds[-2]) - spent(firsts[-1]) < 2.5 * spent(step) <= spent(seconds[-1]) - spent(firsts[-1])


def test_a_budget_of_the_run_counts_what_earlier_stages_spent_and_is_shared_by_rounds(at, tmp_path):
    step = records_of(at, tmp_path / "one", {**ONE, "steps": 1})[0]["tokens_processed"]
    most = {"unit": "tokens", "amount": 9.5 * step, "of": "run"}
    stages = [{**ONE, "name": "before"}, {**ONE, "name": "round", "budget": most, "repeat": 2}]
    spent = {line["stage"]: line["tokens_processed"] for line in records_of(at, tmp_path / "two", stages)}
    first, second = spent["round"] - spent["before"], spent["round.2"] - spent["round"]
    assert 9.5 * step <= spent["round.2"] < 11 * step
    assert abs(first - second) <= 2 * step and min(first, second) > 2 * step
    most["amount"] = 0.5 * step
    assert {line["stage"] for line in records_of(at, tmp_path / "none", stages)} == {"before"}


def records_of(at, folder, stages) -> list[dict]:
    return ran(tables(at, stages), folder)[1]


def test_a_budget_that_nothing_spends_is_refused(at):
    stage = {**ONE, "max_length": 2, "truncation": "drop", "budget": {"amount": 1e9}}
    with pytest.raises(ValueError, match="nothing to train on: max_length is 2"):
        train(tables(at, stage))
