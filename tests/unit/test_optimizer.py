"""The optimiser: schedules, what it decays, and states that follow a scope that changes."""

import pytest
import torch
from torch import nn

from scalpel.config.recipe import StageSpec
from scalpel.models.parameter_blocks import index_map_of
from scalpel.scope import Trainable
from scalpel.training.optimizer import (
    make_optimiser,
    rate,
    restore_states,
    set_rate,
    states,
)


def spec(**keys) -> StageSpec:
    return StageSpec(signals=[{"source": "demonstrations", "objective": "nll"}], **keys)


def rates(**keys) -> list[float]:
    s = spec(**keys)
    return [rate(s, k / s.steps) for k in range(s.steps)]


def test_linear_falls_to_one_step_before_zero():
    assert rates(steps=4, warmup=0.0, schedule="linear") == [1.0, 0.75, 0.5, 0.25]


def test_cosine_by_hand():
    # ½(1 + cos(π k/4)): 1, 0.85355, 0.5, 0.14645
    assert rates(steps=4, warmup=0.0, schedule="cosine") == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_the_full_rate_lasts_until_the_decay_begins():
    assert rates(steps=8, warmup=0.0, schedule="linear", decay=0.5) == [1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    stays = rates(steps=9, warmup=1 / 9, schedule="cosine", decay=0.5)
    assert stays[:6] == [1.0] * 6 and stays[6:] == pytest.approx([0.853553, 0.5, 0.146447], abs=1e-6)


def test_warmup_rises_in_equal_steps_to_the_full_rate():
    assert rates(steps=8, warmup=0.5, schedule="constant") == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.03, 0.4, 0.9])
def test_no_step_is_taken_at_a_rate_of_zero_or_above_one(schedule, steps, warmup):
    assert all(0.0 < r <= 1.0 for r in rates(steps=steps, warmup=warmup, schedule=schedule))


def test_only_matrices_are_decayed_and_owned_modules_learn_ten_times_faster():
    matrix, vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    owned = nn.ModuleDict({"value": nn.Linear(2, 1)})
    optimiser = make_optimiser(spec(weight_decay=0.1), [Trainable("m", matrix), Trainable("v", vector)], owned)
    set_rate(optimiser, spec(learning_rate=1.0, warmup=0.0), 0.0)
    by_parameter = {id(p): g for g in optimiser.param_groups for p in g["params"]}
    assert (by_parameter[id(matrix)]["weight_decay"], by_parameter[id(matrix)]["lr"]) == (0.1, 1.0)
    assert (by_parameter[id(vector)]["weight_decay"], by_parameter[id(vector)]["lr"]) == (0.0, 1.0)
    assert by_parameter[id(owned["value"].weight)]["lr"] == 10.0


def test_how_much_faster_owned_modules_learn_can_be_said():
    owned = nn.ModuleDict({"value": nn.Linear(2, 1)})
    optimiser = make_optimiser(spec(head_lr_multiplier=3.0), [], owned)
    set_rate(optimiser, spec(learning_rate=1.0, warmup=0.0), 0.0)
    assert [g["lr"] for g in optimiser.param_groups] == [3.0]
    with pytest.raises(ValueError, match="greater than 0"):
        spec(head_lr_multiplier=0.0)


def after_five_steps(weight: nn.Parameter, optimiser: torch.optim.Optimizer) -> torch.Tensor:
    for k in range(5):
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(k)).to(weight.dtype)
        optimiser.step()
    return weight.detach().float()


def in_both_ways(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """What our AdamW makes of a weight, and what torch's does, one operation after the other."""
    first = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)).bfloat16().to(dtype)
    s, ours, plain = spec(learning_rate=0.01, weight_decay=0.1), nn.Parameter(first.clone()), nn.Parameter(first)
    fused = make_optimiser(s, [Trainable("w", ours)], nn.ModuleDict())
    assert fused.defaults["fused"]
    single = torch.optim.AdamW([plain], lr=0.01, betas=s.betas, eps=s.eps, weight_decay=0.1)
    return after_five_steps(ours, fused), after_five_steps(plain, single)


def test_fused_steps_are_those_of_the_ordinary_optimiser_but_for_rounding():
    torch.testing.assert_close(*in_both_ways(torch.float32), rtol=1e-5, atol=1e-6)


def test_in_bfloat16_fused_steps_are_nearer_the_exact_ones():
    exact, (fused, single) = in_both_ways(torch.float32)[1], in_both_ways(torch.bfloat16)
    assert (fused - exact).norm() <= (single - exact).norm()


def test_a_sparse_scope_has_states_only_for_what_moves():
    weight = nn.Parameter(torch.ones(20, 20))
    trainables = Trainable("w", weight, torch.arange(0, 400, 20))  # 5%
    kept = states(stepped(trainables), {"w": trainables.value})["w"]
    assert sum(x.numel() for x in kept.values() if x.dim()) == 2 * 20  # two moments of 20 entries


def test_nothing_to_move_is_refused():
    with pytest.raises(ValueError, match="has no trainable parameter"):
        make_optimiser(spec(), [], nn.ModuleDict())


def stepped(trainables: Trainable) -> torch.optim.Optimizer:
    """One step of Adam on gradient = position, so that its first moment tells which entry it belongs to."""
    optimiser = make_optimiser(spec(), [trainables], nn.ModuleDict())
    trainables.weight.grad = torch.arange(1.0, trainables.weight.numel() + 1).view(trainables.weight.shape)
    trainables.gather()
    optimiser.step()
    return optimiser


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, None, [1, 2, 3, 4, 5, 6]),
        ([0, 2, 5], [2, 3, 5], [3, 0, 6]),  # entry 3 is new, and 0 has left
        (None, [1, 4], [2, 5]),  # from the whole matrix to two entries of it
        ([1, 4], None, [0, 2, 0, 0, 5, 0]),  # and back
        ([0, 1], [4, 5], [0, 0]),
    ],
)
@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop", "sgd"])
def test_states_follow_the_entries_they_belong_to(before, after, expected, optimizer):
    weight = nn.Parameter(torch.zeros(2, 3))
    index = lambda x: None if x is None else torch.tensor(x)  # noqa: E731
    old, new = Trainable("w", weight, index(before)), Trainable("w", weight, index(after))
    s = spec(optimizer=optimizer, betas=(0.5, 0.5))
    first = make_optimiser(s, [old], nn.ModuleDict())
    weight.grad = torch.arange(1.0, 7.0).view(2, 3)
    old.gather()
    first.step()
    second = make_optimiser(s, [new], nn.ModuleDict())
    restore_states(second, {"w": new.value}, states(first, {"w": old.value}), index_map_of([old], [new]))
    state = second.state[new.value]
    # the first moment of Adam is (1 − β₁)·g = g/2, SGD's momentum is g, RMSprop's second moment 0.01·g²
    name, of = {"adamw": ("exp_avg", lambda g: g / 2), "sgd": ("momentum_buffer", lambda g: g)}.get(
        optimizer, ("square_avg", lambda g: 0.01 * g * g)
    )
    assert state[name].shape == new.value.shape
    assert state[name].view(-1).tolist() == pytest.approx([of(g) for g in expected], rel=1e-6)
    new.value.grad = torch.ones_like(new.value)
    second.step()  # and the optimiser goes on with them


def test_a_tensor_that_did_not_move_before_starts_anew():
    a, b = Trainable("a", nn.Parameter(torch.zeros(2))), Trainable("b", nn.Parameter(torch.zeros(2)))
    saved = {**states(stepped(a), {"a": a.value}), "b": {"step": torch.tensor(9.0)}}
    optimiser = make_optimiser(spec(), [b], nn.ModuleDict())
    restore_states(optimiser, {"b": b.value}, saved, index_map_of([a], [b]))
    assert b.value not in optimiser.state


def test_a_sparse_moving_tensor_reads_and_writes_its_own_entries_only():
    weight = nn.Parameter(torch.arange(6.0).view(2, 3))
    trainables = Trainable("w", weight, torch.tensor([1, 5]))
    with torch.no_grad():
        trainables.value.add_(10)
    trainables.scatter()
    assert weight.tolist() == [[0.0, 11.0, 2.0], [3.0, 4.0, 15.0]]
    with torch.no_grad():
        weight.fill_(7)
    trainables.read()
    assert trainables.value.tolist() == [7.0, 7.0]


def test_a_constant_rate_has_nothing_to_decay():
    with pytest.raises(ValueError, match="schedule is constant: use linear or cosine"):
        spec(schedule="constant", decay=0.5)
