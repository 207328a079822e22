"""The one loop. It is blind to names: what a method is has become bound parts before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.draw import derive
from scalpel.job import Job, StageRun
from scalpel.optimise import set_rate
from scalpel.recipe import Recipe
from scalpel.runs import Run, interruptible
from scalpel.step import NonFiniteLoss, Tally, backward, outlook, parameter_penalty, prepare


@dataclass
class Progress:
    """Where a run stands; all of it is in the checkpoint."""

    stage: int = 0
    step: int = 0  # optimiser steps within the stage
    total: int = 0  # optimiser steps over all stages
    seconds: float = 0.0
    held: dict[int, Batch] = field(default_factory=dict)  # flow → its batch, while it is reused


Watch = Callable[[Job, StageRun, Progress], bool]


def train(
    recipe: Recipe,
    run: Run | None = None,
    *,
    resume: bool = False,
    watch: Watch = lambda job, stage, progress: False,
    tell: Callable[[Mapping[str, Any]], None] = lambda record: None,
) -> Job:
    """Runs the stages of a recipe and returns the job, whose engine holds the trained policy.

    `watch(job, stage, progress)` is called when a stage begins and after every step; it may measure, and ends the
    stage by returning True. `tell` gets each step's record. Raises ValueError for what is wrong with the recipe
    or its data, NonFiniteLoss if training breaks down, and KeyboardInterrupt after a Ctrl-C; in the last two
    cases the last good state is saved first.
    """
    job, progress = Job(recipe), Progress()
    saved = run.last_checkpoint() if run and resume else None
    if saved is not None:
        assert run is not None
        progress = restored(saved)
        run.forget_after(progress.total)
    with interruptible() as wish:
        for index in range(progress.stage, len(job.plans)):
            if index != progress.stage:
                progress = replace(progress, stage=index, step=0, held={})
            stage = job.enter(index, saved)
            ended = watch(job, stage, progress) if saved is None else False
            saved = None
            while not ended and share_done(job, stage, progress) < 1.0:
                record = guarded_step(job, stage, progress, run)
                if run:
                    run.log(record)
                tell(record)
                ended = watch(job, stage, progress)
                every = stage.spec.checkpoint_every
                if run and (wish or (every and progress.step % every == 0)):
                    run.checkpoint(progress.total, state(job, stage, progress))
                if wish:
                    raise KeyboardInterrupt(f"stopped after step {progress.total}; {last_good(run)}")
            job.leave(stage)
    return job


def share_done(job: Job, stage: StageRun, progress: Progress) -> float:
    """How far the stage is, in [0, 1]: by operations where they are the budget, else by steps."""
    if stage.spec.flops is not None:
        return (job.engine.meter.flops - stage.flops_at_start) / stage.spec.flops
    return progress.step / stage.spec.steps


def guarded_step(job: Job, stage: StageRun, progress: Progress, run: Run | None) -> dict[str, Any]:
    """A step and its record; if its loss is not finite, the state before it is saved and the rows are named."""
    started = time.perf_counter()
    try:
        record = take_step(job, stage, progress)
    except NonFiniteLoss as error:
        if run:
            run.checkpoint(progress.total, state(job, stage, progress))
        advice = "lower the learning rate, or look at these rows"
        raise NonFiniteLoss(f"step {progress.total + 1}: {error}; {advice}; {last_good(run)}") from None
    progress.step, progress.total = progress.step + 1, progress.total + 1
    progress.seconds += time.perf_counter() - started
    return {"kind": "train", "stage": stage.name, "step": progress.total, **record, "seconds": progress.seconds}


def take_step(job: Job, stage: StageRun, progress: Progress) -> dict[str, Any]:
    """Draws, sums the gradients of all signals, clips, moves, and lets the scope redraw."""
    done, tally, loss = share_done(job, stage, progress), Tally(), 0.0
    torch.manual_seed(derive(job.recipe.seed, "step", progress.total))
    job.engine.model.train()
    job.noted.clear()
    for k, flow in enumerate(stage.plan.flows):
        batch = drawn(job, stage, k, progress, done)
        tally.add("", outlook(batch))
        if bool(batch.train_N.any()):
            loss += backward(job.engine, flow, batch, done, stage.spec.accumulation, tally)
    for moving in stage.scope.moving:
        moving.gather()
    now: dict[str, Tensor] = {m.name: m.value for m in stage.scope.moving}
    loss += parameter_penalty(stage.plan.on_parameters, now, stage.home, done, tally)
    if (own := stage.scope.penalty()) is not None:
        own.backward()
    moved = [p for p in stage.named().values() if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(moved, stage.spec.clip or float("inf"))
    learning_rate = set_rate(stage.optimiser, stage.spec, done)
    if torch.isfinite(norm) and moved:
        stage.optimiser.step()
    stage.optimiser.zero_grad(set_to_none=True)
    if not torch.isfinite(norm):
        raise NonFiniteLoss(f"the gradient norm is {float(norm)}")
    for moving in stage.scope.moving:
        moving.scatter()
    if stage.refresh(progress.step + 1):
        job.moves(stage)
    cost = {"gradient_norm": float(norm), "learning_rate": learning_rate, **asdict(job.engine.meter)}
    return {"loss": loss, **tally.means(), **job.noted, **cost}


def drawn(job: Job, stage: StageRun, k: int, progress: Progress, done: float) -> Batch:
    """A new batch from flow k, or the held one while it is reused."""
    flow = stage.plan.flows[k]
    if progress.step % flow.reuse and k in progress.held:
        return progress.held[k]
    batch = prepare(job.engine, flow, job.draw(stage, k, progress.step, progress.total, done), done)
    if flow.reuse > 1:
        progress.held[k] = batch
    return batch


def state(job: Job, stage: StageRun, progress: Progress) -> dict[str, Any]:
    """Everything a resumed run needs."""
    held = {str(k): {n: v for n, v in vars(b).items() if isinstance(v, Tensor)} for k, b in progress.held.items()}
    return {"progress": {**vars(progress), "held": held}, **job.state(stage)}


def restored(saved: Mapping[str, Any]) -> Progress:
    progress = Progress(**saved["progress"])
    for k, tensors in dict(progress.held).items():
        batch = Batch(**tensors, columns=({},) * len(tensors["group_S"]))  # type: ignore[arg-type]
        progress.held = {**{i: b for i, b in progress.held.items() if i != k}, int(k): batch}
    return progress


def last_good(run: Run | None) -> str:
    """Where the last checkpoint is, in words."""
    with suppress(IndexError, AttributeError):
        return f"the last good state is in {run.checkpoints()[-1]}, and --resume goes on from it"  # type: ignore[union-attr]
    return "nothing was saved, since there is no run folder"
