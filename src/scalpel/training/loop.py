"""The one loop. It is blind to names: what a method is has become bound parts before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.config.recipe import Recipe
from scalpel.config.schema import BudgetSpec
from scalpel.part import Bound
from scalpel.rewards.guarded import Failed
from scalpel.runs.atomic import write_json
from scalpel.runs.folder import RunFolder
from scalpel.runs.signals import Stopped, interruptible
from scalpel.seeding import derive
from scalpel.training.batches import drawn
from scalpel.training.checkpoint import (
    RunState,
    Saver,
    last_good,
    restored,
    state,
)
from scalpel.training.lengths import survey_lengths
from scalpel.training.memory import estimate_memory, ran_out, room_of
from scalpel.training.optimizer import set_rate
from scalpel.training.resume import changes_since, inputs_of, take_up
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun
from scalpel.training.step import (
    NonFiniteLoss,
    StepMetrics,
    backward,
    outlook,
    parameter_penalty,
)
from scalpel.training.tracking import tracker

PATIENCE = 100  # steps in a row that may spend nothing of a budget: batches that are empty, or without any credit
EMPTY = (
    "If all examples were too long, raise max_length or change truncation; if no token had any credit, change the "
    "rewards or the data"
)
Watch = Callable[[TrainingRun, StageRun, RunState], bool]


def train(
    recipe: Recipe,
    run: RunFolder | None = None,
    *,
    resume: bool = False,
    insist: bool = False,
    checkpoint: str = "",
    watch: Watch = lambda job, stage, progress: False,
    tell: Callable[[Mapping[str, Any]], None] = lambda record: None,
) -> TrainingRun:
    """Runs the stages of a recipe and returns the job, whose engine holds the trained policy.

    `watch(job, stage, progress)` is called when a stage begins and after every step; it may measure, and ends the
    stage by returning True. `tell` gets each step's record. Raises ValueError for what is wrong with the recipe
    or its data, NonFiniteLoss if training breaks down, and KeyboardInterrupt after a Ctrl-C or another signal
    to stop (`runs/signals.py`); in the last two cases the last good state is saved first. A resumed run goes on from
    its last checkpoint, or from the one that is named; what it reads must be what it was, unless its user insists.
    """
    saved = run.last_checkpoint(checkpoint) if run and resume else None
    changed = changes_since(saved["recipe"], recipe, run) if run and saved else []
    job, progress = TrainingRun(recipe), RunState()
    if run:
        job.inputs = inputs_of(job)
        if saved is not None:
            progress = restored(saved)
            take_up(job, run, saved, changed, insist)
        elif resume:
            run.keep(0, 0)
        write_json(run.folder / "inputs.json", job.inputs)
        run.track = tracker(recipe.track, run.folder, progress.total + 1)
    saver = Saver(run) if run else None
    with interruptible() as wish:
        for index in range(progress.stage, len(job.plans)):
            if index != progress.stage:
                progress = replace(progress, stage=index, step=0, ended=False, held={}, waiting={})
            stage = job.enter(index, saved, progress.seconds)
            job.engine.keep_within(room_of(job, stage))
            if saved is None:
                job.select(stage)
                stage.lengths = survey_lengths(job, stage)
                progress.ended = watch(job, stage, progress)
            saved = None
            while not progress.ended and share_done(job, stage, progress) < 1.0:
                record = guarded_step(job, stage, progress, saver)
                if run:
                    run.log(record)
                    run.show(record, job.completions)
                tell(record)
                progress.ended = stage.validation.exhausted
                progress.ended |= watched(watch, job, stage, progress, saver)
                if saver and (wish or saver.due(stage.spec.checkpoint_every, progress.step)):
                    saver.save(job, stage, progress, needed=bool(wish))
                if wish:
                    raise Stopped(f"stopped after step {progress.total}; {last_good(run)}", wish[0])
            job.leave(stage, run.folder if run else None)
    return job


def watched(watch: Watch, job: TrainingRun, stage: StageRun, progress: RunState, saver: Saver | None) -> bool:
    """What the watcher says of the step that is done; if it fails, where the run stands is saved first."""
    try:
        return watch(job, stage, progress)
    except Exception:
        if saver:
            saver.rescue(job, stage, progress)
        raise


def share_done(job: TrainingRun, stage: StageRun, progress: RunState) -> float:
    """How far the stage is, in [0, 1]: by what it may spend where that is limited, else by steps."""
    if (budget := stage.spec.budget) is not None:
        spent = job.engine.meter.spent(budget.unit, progress.seconds) - stage.spent_at_start
        most = may_spend(job, stage, budget)
        return spent / most if most > 0 else 1.0
    return progress.step / stage.spec.steps


def may_spend(job: TrainingRun, stage: StageRun, budget: BudgetSpec) -> float:
    """What the stage may spend: the budget; or of the run's what is left, in equal shares for the rounds to come."""
    if budget.of == "stage":
        return budget.amount
    rounds = sum(plan.spec is stage.spec for plan in job.plans[stage.index :])
    return (budget.amount - stage.spent_at_start) / rounds


def guarded_step(job: TrainingRun, stage: StageRun, progress: RunState, saver: Saver | None) -> dict[str, Any]:
    """A step and its record; if it fails, the state before it is saved; if its loss is not finite, rows are named."""
    started, done = time.perf_counter(), share_done(job, stage, progress)
    held, waiting = dict(progress.held), {k: list(batches) for k, batches in progress.waiting.items()}
    spent = job.engine.meter.state()
    run = saver.run if saver else None
    try:
        record = take_step(job, stage, progress)
    except NonFiniteLoss as error:
        progress.held, progress.waiting = held, waiting
        vars(job.engine.meter).update(spent)
        if run and stage.finite():  # else the last checkpoint is the last good state
            run.checkpoint(progress.total, state(job, stage, progress))
        if run:
            run.note_stop(str(error), may_change=["learning_rate"])
        advice = "lower the learning rate, which may change when the run goes on, or look at these rows"
        raise NonFiniteLoss(f"step {progress.total + 1}: {error}; {advice}; {last_good(run)}") from None
    except Failed as error:
        progress.held, progress.waiting = held, waiting
        vars(job.engine.meter).update(spent)
        if run and stage.finite():
            run.checkpoint(progress.total, state(job, stage, progress))
        raise Failed(f"step {progress.total + 1}: {error}; {last_good(run)}") from error
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        advice = "; ".join(estimate_memory(job, stage, float("inf")).advice)
        raise MemoryError(f"step {progress.total + 1} ran out of memory: {advice}; {last_good(run)}") from error
    progress.step, progress.total = progress.step + 1, progress.total + 1
    record |= job.validate(stage, progress.step)
    record |= job.hold(stage, progress.step, share_done(job, stage, progress))
    progress.seconds += time.perf_counter() - started + job.unpaid
    job.unpaid = 0.0
    progress.idle = progress.idle + 1 if share_done(job, stage, progress) <= done else 0
    if progress.idle == PATIENCE:  # a budget would never be spent
        raise ValueError(f"{PATIENCE} steps up to {progress.total} trained on nothing and spent nothing. {EMPTY}")
    return {"kind": "train", "stage": stage.name, "step": progress.total, **record, "seconds": progress.seconds}


def refuse_twice(own: Mapping[str, float], noted: Mapping[str, float]) -> None:
    """Raises ValueError where a user's function logs a number by a name that a part has in this record."""
    if both := sorted(own.keys() & noted.keys()):
        raise ValueError(
            f"log_metric({both[0]!r}, …): the record has a number of its own by that name here; take another name"
        )


def take_step(job: TrainingRun, stage: StageRun, progress: RunState) -> dict[str, Any]:
    """Draws, sums the gradients of all signals, clips, moves, and lets the scope redraw."""
    done, tally, loss = share_done(job, stage, progress), StepMetrics(), 0.0
    torch.manual_seed(derive(job.recipe.seed, "step", progress.total))
    job.engine.model.train()
    job.noted.clear()
    job.completions.clear()
    job.samples.clear()
    first: dict[int, tuple[Bound, Batch]] = {}  # parts, with the first batch of which they had a share
    for k, stream in enumerate(stage.plan.streams):
        batch = drawn(job, stage, k, progress, done)
        tally.add("", offer := outlook(batch))
        trains = bool(batch.train_N.any())
        stage.reward_monitors[k].after_step(stage.spec.sampling.temperature, trains, stage.spec.sampling.max_tokens)
        for p in (stream.source, *stream.parts):
            tally.note(p, offer)
            first.setdefault(id(p), (p, batch))
        if trains:
            loss += backward(job.engine, stream, batch, done, stage.spec.accumulation, tally, stage.factor)
    refuse_twice(tally.means(), job.noted)
    for trainables in stage.scope.trainables:
        trainables.gather()
    if stage.plan.on_parameters:
        now: dict[str, Tensor] = {m.name: m.value for m in stage.scope.trainables}
        loss += parameter_penalty(stage.plan.on_parameters, now, stage.at, stage.home, done, tally, stage.factor)
    if (own := stage.scope.penalty()) is not None:
        own.backward()
    if done < stage.spec.owned_first:
        for trainables in stage.scope.trainables:
            trainables.value.grad = None
    moved = [p for p in stage.named().values() if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(moved, stage.spec.clip or float("inf"))
    learning_rate = set_rate(stage.optimiser, stage.spec, done)
    if torch.isfinite(norm) and norm > 0:  # without a gradient nothing moves: no momentum, no decay
        stage.optimiser.step()
        job.engine.moved()
    stage.optimiser.zero_grad(set_to_none=True)
    if not torch.isfinite(norm):
        raise NonFiniteLoss(f"the gradient norm is {float(norm)}")
    for trainables in stage.scope.trainables:
        trainables.scatter()
    for p, batch in first.values():
        p.follow(tally.own[id(p)].means() if id(p) in tally.own else {}, batch, done, tally.rows[id(p)])
    if stage.refresh(progress.step + 1):
        job.moves(stage, moved=True)
    cost = {"gradient_norm": float(norm), "learning_rate": learning_rate, **asdict(job.engine.meter)}
    return {"loss": loss, **tally.means(), **job.noted, **cost}
