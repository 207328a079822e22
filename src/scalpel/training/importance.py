"""Computes the importance of weights for anchors such as EWC, before these weights are trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from scalpel.anchors.context import ImportanceContext
from scalpel.batch import Batch
from scalpel.config.plan import bound
from scalpel.config.recipe import PartSpec
from scalpel.engine.squared_gradients import squared_slopes
from scalpel.rewards import TrainerState
from scalpel.seeding import derive, window
from scalpel.training.rollout import Rollout
from scalpel.training.stage import StageRun

log = logging.getLogger("scalpel")


def weigh_parameters(rollout: Rollout, stage: StageRun, moved: bool) -> None:
    """Computes the importance of newly trainable weights for each anchor that declares `weigh`. `moved`: whether the
    policy differs from the base."""
    for p in stage.plan.on_parameters:
        new = {m.name: m.weight for m in stage.scope.trainables if m.name not in (p.memory.state or {})}
        if p.part.weigh is not None and new:
            context = ImportanceContext(
                frozenset(new), partial(texts, rollout, stage, moved), partial(squared_slopes, rollout.engine, new)
            )
            p.memory.state = p.part.weigh(p.memory.state, context, **p.at(0.0))


def texts(
    rollout: Rollout, stage: StageRun, moved: bool, source: str | dict[str, Any], task: Mapping[str, Any] | None, n: int
) -> Batch:
    """A batch from any source on n examples, apart from the stage's own data. Samples are rewarded as trials, for
    sources that select by reward: nothing is recorded, and no state changes. Samples without any reward stay, since the
    importance of a weight doesn't depend on rewards."""
    drawing, (_, examples, rewards) = bound("source", PartSpec.model_validate(source)), rollout.data(task)
    seed = derive(rollout.recipe.seed, "texts", stage.index) % 2**31
    reward = partial(rollout.reward, rewards, TrainerState(), 0, trial=True)
    if rewards.users and drawing.declared("gives") & {"reward"}:
        log.info(
            "rewards %s are called before step 1, on texts for the importance of weights", ", ".join(rewards.users)
        )
    context = rollout.context(stage, window(examples, 0, n, seed), reward, seed, 0.0)
    return drawing(replace(context, written=partial(rollout.written, int(moved))), progress=0.0)
