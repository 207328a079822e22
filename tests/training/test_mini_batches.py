"""Mini-batches: one batch over several optimiser steps, with `old` as it was before the first of them."""

from dataclasses import replace

import pytest
import torch

from running import ran, tables
from scalpel.batch import POLICY, Row, pack
from scalpel.config.plan import assemble
from scalpel.training.batches import draw_batches
from scalpel.training.checkpoint import RunState
from scalpel.training.loop import take_step
from scalpel.training.mini_batches import mini_batch, split_evenly
from scalpel.training.run import TrainingRun


def batch_of(*groups: int):
    return pack([Row([1, 2, 3], [False, True, True], [POLICY] * 3, group=g) for g in groups])


@pytest.mark.parametrize(
    ("groups", "parts", "expected"),
    [
        ((0, 0, 1, 1, 2, 2, 3, 3), 2, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ((5, 5, 7, 7, 7, 9), 2, [[0, 1, 2, 3, 4], [5]]),
        ((0, 1, 0, 1), 2, [[0, 2], [1, 3]]),
        ((0, 0, 0, 0), 3, [[0, 1, 2, 3], [], []]),
        ((), 2, [[], []]),
    ],
)
def test_groups_stay_whole_and_every_sequence_is_in_one_part(groups, parts, expected):
    assert [part.tolist() for part in split_evenly(batch_of(*groups), parts)] == expected


def test_a_batch_that_is_not_split_is_handed_on_as_it_is():
    batch = batch_of(0, 0, 1)
    assert mini_batch(batch, 7, 1) is batch


def recipe(at, method="grpo", steps=6, **signal):
    return tables(at, {"method": method, "steps": steps, "signals": {"0": signal}})


def test_the_steps_of_a_batch_share_its_samples_and_its_old_log_probs(at):
    """Two times two steps on four prompts: the parts are the batch, twice; `old` is what transformers says of the
    weights before the first step, also in the later ones, when the policy has moved."""
    run = TrainingRun(recipe(at, updates_per_batch=2, mini_batches=2))
    stage, state, seen = run.enter(0), RunState(), []
    start = {name: p.detach().clone() for name, p in run.engine.model.named_parameters()}
    for step in range(4):
        sampled = run.engine.meter.tokens_sampled
        (batch,) = draw_batches(run, stage, state, step / 4)
        assert (run.engine.meter.tokens_sampled > sampled) == (step == 0)
        seen.append(batch)
        take_step(run, stage, state, [batch], step / 4)
        state = replace(state, step=step + 1, global_step=step + 1)
    assert [len(torch.unique(batch.group_S)) for batch in seen] == [2, 2, 2, 2]
    assert seen[0].ids_N.tolist() == seen[2].ids_N.tolist() != seen[1].ids_N.tolist() == seen[3].ids_N.tolist()
    moved = max(float((p.detach() - start[name]).abs().max()) for name, p in run.engine.model.named_parameters())
    assert moved > 1e-3
    run.engine.model.load_state_dict(start, strict=False)
    for batch in seen:
        before_N = run.engine.score(batch).logp_N
        torch.testing.assert_close(batch.old_N[batch.train_N], before_N[batch.train_N], atol=1e-5, rtol=1e-5)


def test_a_step_learns_from_its_mini_batch_alone(at):
    """The first step of two equals, bit for bit, one whose batch never held anything else."""
    ends = []
    for alone in (False, True):
        run = TrainingRun(recipe(at, mini_batches=1 if alone else 2, updates_per_batch=2 if alone else 1))
        stage = run.enter(0)
        if alone:
            stage.streams[0].held, state = ends[0][1], RunState(step=1)
        else:
            state = RunState()
        (batch,) = draw_batches(run, stage, state, 0.0)
        take_step(run, stage, state, [batch], 0.0)
        ends.append(({n: p.detach().clone() for n, p in run.engine.model.named_parameters()}, batch))
    assert all(torch.equal(ends[0][0][name], p) for name, p in ends[1][0].items())


def test_sequence_ratios_matter_from_the_second_mini_batch_on(at, tmp_path):
    """With one update a batch every ratio is 1, and gspo is grpo; with mini-batches that holds for the first step."""
    ends = {}
    for name, clip in (("grpo", "clipped-pg"), ("gspo", "clipped-sequence-pg")):
        objective = {"name": clip} if clip == "clipped-pg" else {"name": clip, "epsilon": 0.2, "epsilon_high": 0.2}
        for steps in (1, 2):
            made = recipe(at, "grpo", steps, objective=objective, mini_batches=2)
            ends[name, steps] = ran(made, tmp_path / f"{name}{steps}")[0]
    apart = lambda steps: max(  # noqa: E731
        float((ends["grpo", steps][k] - ends["gspo", steps][k]).abs().max()) for k in ends["grpo", steps]
    )
    assert apart(1) < 1e-5 < 1e-3 < apart(2)


def test_more_mini_batches_than_prompts_are_refused_before_a_model_is_opened(at):
    made = recipe(at, mini_batches=5)
    with pytest.raises(
        ValueError, match="mini_batches is 5, but a batch of 4 prompts can't be split over more steps: raise batch to 5"
    ):
        assemble(made.stages[0], made)
