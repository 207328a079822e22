"""Mini-batches: one batch over several optimiser steps, with `old` as it was before the first of them."""

from dataclasses import replace

import pytest
import torch

from running import ran, tables
from scalpel.batch import POLICY, Row, pack
from scalpel.config.merge import say_fewer
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


def after(at, folder, method, steps, **signal):
    """Weights and records of a row with its own settings after so many updates. The large eps keeps Adam from turning
    the rounding of gradients near zero into full steps."""
    made = tables(at, {"method": method, "steps": steps, "eps": 1e-3, "signals": {"0": signal}})
    return ran(made, folder / "-".join([method, str(steps), *map(str, signal)]))


def apart(one, other):
    return max(float((one[0][name] - other[0][name]).abs().max()) for name in one[0])


def test_sequence_ratios_matter_from_the_second_update_on_with_the_row_s_own_settings(at, tmp_path):
    """In the first update on a batch every ratio is 1, and gspo is grpo on the same mini-batch; then it is not, and its
    clip, which is narrow, acts."""
    for steps, least, most in ((1, 0.0, 1e-5), (2, 1e-3, 1.0)):
        grpo, gspo = after(at, tmp_path, "grpo", steps, mini_batches=4), after(at, tmp_path, "gspo", steps)
        assert least <= apart(grpo, gspo) < most
    assert [record["clip_share"] > 0 for record in gspo[1]] == [False, True]


def test_gradients_by_token_are_gspo_s_unless_credits_differ_by_token(at, tmp_path):
    gspo, token = (after(at, tmp_path, method, 3) for method in ("gspo", "gspo-token"))
    assert apart(gspo, token) < 1e-5
    credit = ["group-zscore", {"name": "top-entropy", "share": 0.5}]
    gspo, token = (after(at, tmp_path, method, 3, credit=credit) for method in ("gspo", "gspo-token"))
    assert apart(gspo, token) > 1e-3


@pytest.mark.parametrize("method", ["dr-grpo", "dapo", "gspo", "luspo", "ppo", "prefix-rft", "luffy"])
def test_rows_whose_papers_take_several_updates_a_batch_have_ratios_other_than_1(at, tmp_path, method):
    records = after(at, tmp_path, method, 4)[1]
    ratios = [value for record in records for key, value in record.items() if key.rpartition("/")[2] == "ratio"]
    assert ratios[0] == pytest.approx(1, abs=1e-6) and any(abs(ratio - 1) > 1e-4 for ratio in ratios)


def test_a_row_s_number_of_mini_batches_is_lowered_to_the_batch_and_that_is_said_once(at, caplog):
    say_fewer.cache_clear()
    with caplog.at_level("INFO", logger="scalpel"):
        made = [tables(at, {"method": "dapo", "batch": batch, "steps": 2}) for batch in (4, 4, 16, 32)]
    assert [one.stages[0].signals[0].mini_batches for one in made] == [4, 4, 16, 16]
    assert [line for line in caplog.messages if "mini-batches" in line] == [
        "method 'dapo' splits a batch into 16 mini-batches, but a batch of 4 prompts can be split into at most 4: it "
        "gets 4 updates; set batch to 16 or more for the method's own number"
    ]
    assemble(made[0].stages[0], made[0])


def test_a_signal_s_own_batch_counts(at):
    made = tables(at, {"method": "luffy", "signals": {"0": {"batch": 1}}})
    assert made.stages[0].signals[0].mini_batches == 1


def test_more_mini_batches_than_prompts_are_refused_before_a_model_is_opened(at):
    made = recipe(at, "dapo", mini_batches=5)  # what the user wrote goes over the row, and isn't lowered
    with pytest.raises(
        ValueError, match="mini_batches is 5, but a batch of 4 prompts can't be split .*raise batch to 5"
    ):
        assemble(made.stages[0], made)
