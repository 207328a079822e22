"""What every scope keeps to, by being registered."""

from copy import deepcopy
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

import material
import tiny
from scalpel.models.adapters import adapt
from scalpel.part import Bound, bind
from scalpel.scope import Scope, ScopeContext

VARIANTS = [
    *(bind("scope", name) for name in sorted(material.AXES["scope"])),
    bind("scope", "components", components=["up", "down"], layers="1", freeze=True),
    bind("scope", "components", components=["v", "norms"], layers=[-1]),
    bind("scope", "lora", targets=["q", "down"], magnitude=True, rank_stabilised=True, init="gaussian"),
    bind("scope", "hft", round=2, outside=False),
    bind("scope", "lift", interval=2, budget=1, svd="randomised"),
]
EVERY = pytest.mark.parametrize("bound", VARIANTS, ids=material.label)
SHAPE = pytest.mark.parametrize("kind", sorted(tiny.SHAPES))
IDS = torch.arange(7, 25).view(2, 9)


def attach(bound: Bound, model: PreTrainedModel, seed: int = 3) -> Scope:
    return bound(model, ScopeContext(seed, partial(adapt, model)))


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def steps(model: PreTrainedModel, scope: Scope, n: int) -> None:
    """Adam on text, as the loop does it: gather, step, scatter."""
    optimiser = torch.optim.Adam([m.value for m in scope.trainables], lr=1e-3)
    for _ in range(n):
        model(IDS, labels=IDS).loss.backward()
        for m in scope.trainables:
            m.gather()
        optimiser.step()
        optimiser.zero_grad()
        for m in scope.trainables:
            m.scatter()


@SHAPE
@EVERY
def test_attaching_changes_no_output(bound: Bound, kind: str) -> None:
    model = tiny.model(kind)
    before = logits(model)
    scope = attach(bound, model)
    assert scope.trainables
    torch.testing.assert_close(logits(model), before, rtol=0, atol=1e-6)


@SHAPE
@EVERY
def test_after_three_steps_what_is_frozen_is_bitwise_the_same_and_all_else_has_moved(bound: Bound, kind: str) -> None:
    model = tiny.model(kind)
    scope = attach(bound, model)
    before = deepcopy(model.state_dict())
    steps(model, scope, 3)
    trainables = {m.name: m for m in scope.trainables}
    assert len(trainables) == len(scope.trainables)
    for name, parameter in model.named_parameters():
        was, now = before[name].view(-1), parameter.detach().view(-1)
        if name not in trainables:
            assert torch.equal(was, now) and not parameter.requires_grad, name
        else:
            index = trainables[name].index
            free = torch.ones_like(was, dtype=torch.bool) if index is None else torch.zeros_like(was, dtype=torch.bool)
            free[index if index is not None else slice(None)] = True
            assert torch.equal(was[~free], now[~free]) and not torch.equal(was[free], now[free]), name


@SHAPE
@EVERY
def test_folded_and_saved_it_is_the_plain_model_with_the_same_output(bound: Bound, kind: str, tmp_path: Path) -> None:
    model = tiny.model(kind)
    names = [name for name, _ in model.named_parameters()]
    scope = attach(bound, model)
    steps(model, scope, 2)
    trained = logits(model)
    scope.fold()
    assert [name for name, _ in model.named_parameters()] == names
    torch.testing.assert_close(logits(model), trained, rtol=0, atol=1e-5)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path).eval()), logits(model))


@EVERY
def test_the_seed_alone_decides_what_moves_and_from_where(bound: Bound) -> None:
    first, second = (attach(bound, tiny.model()) for _ in range(2))
    torch.manual_seed(11)
    third = attach(bound, tiny.model())
    for other in (second, third):
        for a, b in zip(first.trainables, other.trainables, strict=True):
            assert a.name == b.name and torch.equal(a.value, b.value)


@EVERY
def test_a_restored_scope_moves_the_same_entries(bound: Bound) -> None:
    model = tiny.model()
    scope = attach(bound, model)
    steps(model, scope, 2)
    scope.refresh(2)
    again = deepcopy(tiny.model())
    twin = attach(bound, again)
    again.load_state_dict(model.state_dict())
    twin.restore(scope.state())
    assert [m.name for m in twin.trainables] == [m.name for m in scope.trainables]
    for a, b in zip(twin.trainables, scope.trainables, strict=True):
        assert (a.index is None) == (b.index is None) and (
            a.index is None or torch.equal(a.index, torch.as_tensor(b.index))
        )
        assert torch.equal(a.value, b.value)


@EVERY
def test_a_refresh_says_where_each_entry_was(bound: Bound) -> None:
    model = tiny.model("gpt2")
    scope = attach(bound, model)
    steps(model, scope, 1)
    old = {m.name: m for m in scope.trainables}
    index_map = scope.refresh(2)
    if index_map is None:
        assert [m.name for m in scope.trainables] == list(old)
        return
    for m in scope.trainables:
        now = torch.arange(m.weight.numel()) if m.index is None else m.index
        places, index = index_map.get(m.name), old[m.name].index if m.name in old else None
        if places is not None:
            assert index is not None and torch.equal(index[places[places >= 0]], now[places >= 0])
            assert not torch.isin(now[places < 0], index).any()
        assert torch.equal(m.value, m.weight.view(-1)[now].view(m.value.shape))
