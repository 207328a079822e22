"""The training loop. It knows no method by name: a method has become bound parts before the loop starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.config.recipe import Recipe
from scalpel.config.schema import BudgetSpec
from scalpel.distributed.reduce import largest_over_ranks
from scalpel.extensions.guarded import Failed
from scalpel.part import Bound
from scalpel.runs.atomic import write_json
from scalpel.runs.folder import RunFolder
from scalpel.runs.signals import Stopped, interruptible
from scalpel.training.batches import draw_batches
from scalpel.training.before_step import BeforeStep
from scalpel.training.checkpoint import (
    RunState,
    Saver,
    last_good,
    state_of,
)
from scalpel.training.memory import activation_budget, estimate_memory, ran_out
from scalpel.training.optimizer import set_rate
from scalpel.training.resume import changes_since, inputs_of, restore_run
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun
from scalpel.training.step import (
    NonFiniteLoss,
    StepMetrics,
    backward,
    outlook,
    parameter_penalty,
)
from scalpel.training.survey import survey_lengths
from scalpel.training.tracking import tracker

PATIENCE = 100  # consecutive steps that may spend nothing of a budget, since batches are empty or without any credit
EMPTY = (
    "If all examples were too long, raise max_length or change truncation; if no token had any credit, change the "
    "rewards or the data"
)


Watch = Callable[[TrainingRun, StageRun, RunState], bool]
Preview = Callable[[TrainingRun, StageRun, Sequence[Batch]], None]


def train(
    recipe: Recipe,
    folder: RunFolder | None = None,
    *,
    resume: bool = False,
    insist: bool = False,
    checkpoint: str = "",
    preview: Preview = lambda run, stage, batches: None,
    watch: Watch = lambda run, stage, state: False,
    tell: Callable[[Mapping[str, Any]], None] = lambda record: None,
) -> TrainingRun:
    """Runs the stages of a recipe and returns the run, whose engine holds the trained policy.

    `preview` gets the run's first batches, one per stream, before they are trained on; it may raise. `watch` is called
    at the beginning of a stage and after every step; it may evaluate, and ends the stage by returning True. `tell` gets
    each step's record. None of them may change what the run computes.

    Raises ValueError for errors in the recipe or its data, NonFiniteLoss if training diverges, and KeyboardInterrupt
    after Ctrl-C or another stop signal (`runs/signals.py`); in the last two cases the last good state is saved first. A
    resumed run continues from its last checkpoint, or from the named one; the files that it reads must be unchanged,
    unless `insist` is set.
    """
    saved = folder.last_checkpoint(checkpoint) if folder and resume else None
    changed = changes_since(saved["recipe"], recipe, folder) if folder and saved else []
    run, state = TrainingRun(recipe, saved["dtype"] if saved else ""), RunState()
    if folder:
        run.inputs = inputs_of(run)
        if saved is not None:
            state = RunState(**saved["state"])
            restore_run(run, folder, saved, changed, insist)
        elif resume:
            folder.keep(0, 0)
        write_json(folder.folder / "inputs.json", run.inputs)
        folder.track = tracker(recipe.track, folder.folder, state.global_step + 1)
    saver = Saver(folder) if folder else None
    with interruptible() as wish:
        for index in range(state.stage, len(run.plans)):
            if index != state.stage:
                state = replace(state, stage=index, step=0, ended=False)
            stage = run.enter(index, saved, state.seconds)
            run.engine.limit_activations(activation_budget(run, stage))
            if saved is None:
                run.rollout.select(stage)
                survey_lengths(run, stage)
                state.ended = watch(run, stage, state)
            saved = None
            while not state.ended and share_done(run, stage, state) < 1.0:
                record = guarded_step(run, stage, state, saver, preview)
                if folder:
                    folder.log(record)
                    folder.show(record, run.rollout.record.completions)
                tell(record)
                state.ended = stage.validation.exhausted
                state.ended |= watched(watch, run, stage, state, saver)
                if saver and (wish or saver.due(stage.spec.checkpoint_every, state.step)):
                    saver.save(run, stage, state, needed=bool(wish))
                if wish:
                    raise Stopped(f"stopped after step {state.global_step}; {last_good(folder)}", wish[0])
            run.leave(stage, folder.folder if folder else None)
    return run


def watched(watch: Watch, run: TrainingRun, stage: StageRun, state: RunState, saver: Saver | None) -> bool:
    """The watcher's result after a step. If it raises, the state of the run is saved first."""
    try:
        return watch(run, stage, state)
    except Exception:
        if saver:
            saver.rescue(run, stage, state)
        raise


def share_done(run: TrainingRun, stage: StageRun, state: RunState) -> float:
    """The progress of the stage, in [0, 1]: by its budget if it has one, else by steps."""
    if (budget := stage.spec.budget) is not None:
        spent = run.engine.meter.spent(budget.unit, state.seconds) - stage.spent_at_start
        most = may_spend(run, stage, budget)
        return spent / most if most > 0 else 1.0
    return state.step / stage.spec.steps


def may_spend(run: TrainingRun, stage: StageRun, budget: BudgetSpec) -> float:
    """What the stage may spend: its budget, or an equal share, over its remaining repetitions, of what is left of the
    run's budget."""
    if budget.of == "stage":
        return budget.amount
    rounds = sum(plan.spec is stage.spec for plan in run.plans[stage.index :])
    return (budget.amount - stage.spent_at_start) / rounds


def guarded_step(
    run: TrainingRun, stage: StageRun, state: RunState, saver: Saver | None, preview: Preview
) -> dict[str, Any]:
    """Takes a step and returns its record. If it fails, the state before it is saved; if the loss is not finite, the
    error names rows."""
    started, progress = time.perf_counter(), share_done(run, stage, state)
    before = BeforeStep.of(run, stage)
    folder, number = saver.folder if saver else None, state.global_step + 1

    def put_back() -> None:
        before.put_back(run, stage)
        if folder and stage.finite():  # else the last checkpoint is the last good state
            folder.checkpoint(state.global_step, state_of(run, stage, state))

    try:
        drawn = draw_batches(run, stage, state, progress)
        if state.global_step == 0:
            paused = time.perf_counter()
            with run.rollout.preserving_state():
                preview(run, stage, drawn)
            started += time.perf_counter() - paused
        record = take_step(run, stage, state, drawn, progress)
    except NonFiniteLoss as error:
        put_back()
        if folder:
            folder.note_stop(str(error), may_change=["learning_rate"])
        advice = "lower the learning rate, which may change on resume, or check these rows"
        raise NonFiniteLoss(f"step {number}: {error}; {advice}; {last_good(folder)}") from None
    except Failed as error:
        put_back()
        raise Failed(f"step {number}: {error}; {last_good(folder)}") from error
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        advice = "; ".join(estimate_memory(run, stage, float("inf")).advice)
        raise MemoryError(f"step {number} ran out of memory: {advice}; {last_good(folder)}") from error
    state.step, state.global_step = state.step + 1, number
    record |= run.validate(stage, state.step)
    record |= run.update_floor(stage, state.step, share_done(run, stage, state))
    state.seconds += time.perf_counter() - started
    state.idle = state.idle + 1 if share_done(run, stage, state) <= progress else 0
    if state.idle == PATIENCE:  # a budget would never be spent
        raise ValueError(f"{PATIENCE} steps up to {number} trained on nothing and spent nothing. {EMPTY}")
    return {"kind": "train", "stage": stage.name, "step": number, **record, "seconds": state.seconds}


def refuse_twice(own: Mapping[str, float], noted: Mapping[str, float]) -> None:
    """Raises ValueError if a user's function logs a metric under a name that a part uses in this record."""
    if both := sorted(own.keys() & noted.keys()):
        raise ValueError(
            f"log_metric({both[0]!r}, …): the record already has a metric of that name; choose another name"
        )


def take_step(
    run: TrainingRun, stage: StageRun, state: RunState, batches: Sequence[Batch], progress: float
) -> dict[str, Any]:
    """Sums the gradients of all signals on these batches, clips them, takes an optimiser step, and lets the scope
    select other entries."""
    metrics, loss, sampling = StepMetrics(), 0.0, stage.spec.sampling
    collecting = progress < stage.spec.learning_starts  # sources fill their buffers, and nothing is updated
    first: dict[Bound, Batch] = {}  # parts, with the first batch of which they had a share
    for stream, batch in zip(stage.streams, batches, strict=True):
        metrics.add("", offer := outlook(batch))
        trains = bool(batch.train_N.any())
        stream.monitor.after_step(sampling.temperature, trains, sampling.max_tokens)
        for p in (stream.plan.source, *stream.plan.parts):
            metrics.add_for(p, offer)
            first.setdefault(p, batch)
        if largest_over_ranks(int(trains)) and not collecting:
            loss += backward(run.engine, stream.plan, batch, progress, stage.spec.accumulation, metrics, stage.factor)
    metrics.reduce()
    numbers = run.rollout.record.numbers
    refuse_twice(metrics.means(), numbers)
    for trainable in stage.scope.trainables:
        trainable.gather()
    if stage.plan.on_parameters:
        now: dict[str, Tensor] = {m.name: m.value for m in stage.scope.trainables}
        loss += parameter_penalty(stage.plan.on_parameters, now, stage.at, stage.home, progress, metrics, stage.factor)
    if (own := stage.scope.penalty()) is not None:
        own.backward()
    if progress < stage.spec.head_warmup:
        for trainable in stage.scope.trainables:
            trainable.value.grad = None
    if collecting:  # a penalty on parameters has a gradient without any batch
        stage.optimiser.zero_grad(set_to_none=True)
    moved = [p for p in stage.named().values() if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(moved, stage.spec.clip or float("inf"))
    learning_rate = set_rate(stage.optimiser, stage.spec, progress)
    if torch.isfinite(norm) and norm > 0:  # without a gradient no weight changes, not by momentum or decay either
        stage.optimiser.step()
        run.engine.moved()
    stage.optimiser.zero_grad(set_to_none=True)
    if not torch.isfinite(norm):
        raise NonFiniteLoss(f"the gradient norm is {float(norm)}")
    for trainable in stage.scope.trainables:
        trainable.scatter()
    for p, batch in first.items():
        p.follow(metrics.means_for(p), batch, progress, metrics.rows[p])
    if stage.refresh(state.step + 1):
        run.trainables_changed(stage, moved=True)
    cost = {"gradient_norm": float(norm), "learning_rate": learning_rate, **asdict(run.engine.meter)}
    return {"loss": loss, **metrics.means(), **numbers, **cost}
