"""The policy module: its numbers and gradients are those of the plain model, and every number comes through it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

import material
from scalpel.batch import Batch, Row, pack
from scalpel.engine import Engine
from scalpel.engine.embeddings import embed
from scalpel.engine.policy import Packed, Policy, Requests
from scalpel.engine.prefix_tree import lay_out
from scalpel.engine.squared_gradients import squared_slopes
from scalpel.part import HeadTerm, OwnedHead

KL = HeadTerm("reverse_kl", "reference")
FLOW = OwnedHead("flow")
ROWS = [([7, 8, 9], [10, 11]), ([7, 8, 9], [12]), ([20], [21, 22, 23])]


def policy_of(engine: Engine) -> Policy:
    torch.manual_seed(1)
    engine.owned = nn.ModuleDict({"value": nn.Linear(16, 2), "flow": nn.Linear(16, 1)})
    return engine.policy


def small() -> Batch:
    return pack(
        [Row([*p, *c], [False] * len(p) + [True] * len(c), [0] * len(p + c), group=k) for k, (p, c) in enumerate(ROWS)]
    )


def by_hand(policy: Policy, batch: Batch) -> dict[Any, torch.Tensor]:
    """By transformers' own forward pass, one sequence at a time."""
    found: dict[Any, list[torch.Tensor]] = {need: [] for need in ("logp", "entropy", "argmax", "value", FLOW)}
    for s in range(batch.S):
        ids, on = batch.ids_N[batch.seq_N == s], batch.train_N[batch.seq_N == s][1:]
        logp_TV = policy.transformer(ids[None], use_cache=False).logits[0].log_softmax(-1)[:-1][on]
        h_TD = policy.transformer.base_model(ids[None], use_cache=False).last_hidden_state[0][:-1][on]
        found["logp"].append(logp_TV.gather(1, ids[1:][on][:, None])[:, 0])
        found["entropy"].append(-(logp_TV.exp() * logp_TV).sum(-1))
        found["argmax"].append(logp_TV.argmax(-1))
        found["value"].append(policy.owned["value"](h_TD))
        found[FLOW].append(policy.owned["flow"](h_TD)[:, 0])
    return {need: torch.cat(parts) for need, parts in found.items()}


def total(numbers: dict[Any, torch.Tensor]) -> torch.Tensor:
    """A loss in which every number takes part, none linearly."""
    return sum(((x**2).sum() for x in numbers.values() if x.is_floating_point()), torch.zeros(()))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_numbers_and_gradients_are_those_of_log_softmax_over_the_model_s_own_logits(kind: str) -> None:
    policy, batch = policy_of(material.engine(kind)), small()
    at_n = batch.train_N.nonzero()[:, 0]
    needs = frozenset({"logp", "entropy", "argmax", "value", FLOW})
    numbers = policy(Packed(batch, at_n, lay_out(batch.input_N, batch.seq_N, at_n, worth=2), 0), Requests(needs))
    expected = by_hand(policy, batch)
    assert numbers.keys() == expected.keys()
    for need, x in expected.items():
        torch.testing.assert_close(numbers[need], x, rtol=1e-4, atol=1e-5)
    weights = list(policy.parameters())
    ours, theirs = (torch.autograd.grad(total(x), weights) for x in (numbers, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@contextmanager
def watched(policy: Policy) -> Iterator[list[str]]:
    """Notes the policy's passes; a pass through its transformer outside of one is an error."""
    inside, passes = [], []

    def enter(module: nn.Module, args: Any) -> None:
        inside.append(True)
        passes.append(type(args[1]).__name__)

    def body(module: nn.Module, args: Any) -> None:
        assert inside, "the transformer ran outside of the policy's forward pass"

    hooks = [
        policy.register_forward_pre_hook(enter),
        policy.register_forward_hook(lambda *_: inside.pop() and None),
        policy.transformer.base_model.register_forward_pre_hook(body),
    ]
    try:
        yield passes
    finally:
        for hook in hooks:
            hook.remove()


ASKED = {
    "forward": lambda e: e.forward(small(), {"logp", "entropy", "value", FLOW}),
    "forward beside another": lambda e: e.forward(small(), {"logp", KL}),
    "score": lambda e: e.score(small()),
    "logps": lambda e: e.logps(ROWS),
    "first choices": lambda e: e.first_choices(ROWS),
    "kl": lambda e: e.kl(ROWS, e),
    "embeddings": lambda e: embed(e, [p + c for p, c in ROWS]),
    "squared slopes": lambda e: squared_slopes(e, dict(e.model.named_parameters()), small()),
}


@pytest.mark.parametrize("what", ASKED)
def test_every_number_comes_through_the_policy(what: str) -> None:
    engine = material.engine(reference=1)
    policy_of(engine)
    engine.logps(ROWS)  # what is tried once of a model
    with watched(engine.policy) as passes, watched(engine.others["reference"]) as beside:
        ASKED[what](engine)
    assert passes and bool(beside) == (what == "forward beside another")


def test_what_stands_around_the_policy_is_called_in_its_place_and_taken_off_with_the_stage() -> None:
    class Around(nn.Module):
        def __init__(self, policy: Policy) -> None:
            super().__init__()
            self.policy, self.passes = policy, 0

        def forward(self, *args: Any) -> Any:
            self.passes += 1
            return self.policy(*args)

    engine = material.engine(reference=1)
    around = engine.wrap(Around)
    engine.forward(small())
    engine.score(small(), "reference")  # another's policy has nothing around it
    engine.score(small())
    assert around.passes == 2
    engine.equip(scope_off={}, others={}, owned=nn.ModuleDict(), micro_tokens=64, external_sampler=None)
    assert engine.wrapped is engine.policy


def test_each_model_is_a_policy_of_its_own_with_the_names_of_its_transformer_below_it() -> None:
    engine = material.engine(reference=1)
    policy_of(engine)
    names = [name for name, _ in engine.model.named_parameters()]
    assert [n for n, _ in engine.policy.transformer.named_parameters()] == names
    owned = [f"owned.{n}" for n, _ in engine.owned.named_parameters()]
    assert {n for n, _ in engine.policy.named_parameters()} == {*(f"transformer.{n}" for n in names), *owned}
    assert not any(p.requires_grad for p in engine.others["reference"].parameters())
