"""A policy under DDP and FSDP2: two ranks with unequal shares of a batch take the step that one process takes."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

import material
import tiny
from formula_parity import stream_of
from ranks import on_ranks
from scalpel.batch import Batch
from scalpel.data.tokenizer import Tokens
from scalpel.distributed.wrap import gathered, replicated, sharded, unsynchronised
from scalpel.engine import Engine, Sampling
from scalpel.models.adapters import adapt
from scalpel.part import bind
from scalpel.scope import ScopeContext
from scalpel.training.step import StepMetrics, backward, prepare

RATE = 0.3
CLOSE = dict(rtol=1e-5, atol=1e-6)  # float32, summed in another order; the weights move by 0.3 and more
PROMPTS = [[7, 8, 9], [20, 21]]
NLL: dict[str, Any] = {"name": "policy", "source": "groups", "credit": ["reward"], "objective": "nll"}
BESIDE = [{"name": "value", "objective": "value"}, {"name": "entropy", "objective": "entropy", "weight": 0.1}]
STREAMS: dict[str, dict[str, Any]] = {
    "known gradient": {"signals": [NLL]},  # ∂L/∂log p is known before the pass
    "value and entropy": {"signals": [{**NLL, "objective": "clipped-pg"}, *BESIDE]},
    "exact divergence": {"signals": [NLL], "anchors": [{"name": "kl", "estimator": "exact-reverse", "beta": 0.5}]},
}
WRAPPERS = ("ddp", "fsdp")
CASES: dict[str, dict[str, Any]] = {
    **{stream: {"stream": stream} for stream in STREAMS},
    "two micro-batches": {"stream": "known gradient", "pieces": 2},
    "a micro-batch for each sequence, three and nine": {"stream": "value and entropy", "micro_tokens": 1},
    "micro-batches with a reference": {"stream": "exact divergence", "micro_tokens": 1},
    "adapters, and the policy without them as reference": {"stream": "exact divergence", "lora": True},
    "checkpointed layers": {"stream": "value and entropy", "checkpointed": True},
}
Weights = dict[str, Tensor]


def equipped(lora: bool = False) -> Engine:
    """A policy with a value head, and a reference: another model, or itself without its adapters."""
    model, off = tiny.model(seed=0), {}
    torch.manual_seed(3)
    if lora:
        scope = bind("scope", "lora", rank=2)(model, ScopeContext(3, partial(adapt, model)))
        for m in scope.trainables:
            m.value.data.add_(0.1 * torch.randn(m.value.shape))
        off = {"reference": scope.off}
    engine = Engine(model, Tokens(tiny.tokenizer()))
    others = {} if lora else {"reference": tiny.model(seed=1).requires_grad_(False)}
    owned = nn.ModuleDict({"value": nn.Linear(16, 1)})
    engine.equip(scope_off=off, others=others, owned=owned, micro_tokens=16384, external_sampler=None)
    return engine


def wrap(engine: Engine, wrapper: str) -> Engine:
    if wrapper == "ddp":
        engine.wrap(replicated)
    elif wrapper == "fsdp":
        for other in engine.others.values():
            sharded(other)
        engine.wrap(sharded)
    return engine


def share(rank: int | None) -> Batch:
    """A rank's share of the sequences, three of them or nine; None has all. Each share is cut into two micro-batches
    where two are asked for."""
    batch = material.batch(groups=4, dtype=torch.float32)
    first_S = torch.arange(batch.S) % 3 + torch.arange(batch.S) // 3 < 2
    return batch if rank is None else batch.pick((first_S == (rank == 0)).nonzero()[:, 0])


def stepped(
    wrapper: str,
    rank: int | None,
    stream: str,
    pieces: int = 1,
    lora: bool = False,
    checkpointed: bool = False,
    micro_tokens: int = 16384,
) -> Weights:
    """Every trainable weight, whole, after one step of gradient descent."""
    engine, flow = equipped(lora), stream_of(**STREAMS[stream])
    engine.micro_tokens = micro_tokens
    if checkpointed:
        engine.limit_activations(0.0)
    wrap(engine, wrapper)
    batch = prepare(engine, flow, share(rank), 0.0)
    trainable = {name: p for name, p in engine.policy.named_parameters() if p.requires_grad}
    optimiser = torch.optim.SGD(trainable.values(), lr=RATE)
    backward(engine, flow, batch, 0.0, pieces, StepMetrics())
    optimiser.step()
    return {name: whole(p) for name, p in trainable.items()}


def accumulated(wrapper: str, rank: int) -> Weights:
    """Gradients of Σ log p of a rank's sequences, the first of which are left to the rank for a while."""
    engine, batch = wrap(equipped(), wrapper), share(rank)
    with unsynchronised(engine.wrapped):
        engine.forward(batch.pick(torch.arange(2))).logp_N.sum().backward()
    engine.forward(batch.pick(torch.arange(2, batch.S))).logp_N.sum().backward()
    return {name: whole(p.grad) for name, p in engine.policy.named_parameters() if p.grad is not None}


def whole(p: Tensor) -> Tensor:
    return (p.full_tensor() if isinstance(p, DTensor) else p).detach().clone()


def sampled(engine: Engine) -> list[list[int]]:
    with gathered(engine.policy):
        return [sample.ids for group in engine.sample(PROMPTS, Sampling(6), 2, seed=1) for sample in group]


def held(engine: Engine) -> tuple[int, int]:
    """How many numbers a rank holds for its policy's weights, and how many of them are of DTensors."""
    found = [
        (isinstance(p, DTensor), p.to_local() if isinstance(p, DTensor) else p) for p in engine.policy.parameters()
    ]
    return sum(x.numel() for _, x in found), sum(x.numel() for shared, x in found if shared)


def work(rank: int) -> dict[Any, Any]:
    found: dict[Any, Any] = {(w, case): stepped(w, rank, **CASES[case]) for w in WRAPPERS for case in CASES}
    found |= {(w, "accumulated"): accumulated(w, rank) for w in WRAPPERS}
    engine = wrap(equipped(), "fsdp")
    found["sampled"] = sampled(engine)  # before any pass of the caller's
    found["held"] = held(engine)
    return found


@pytest.fixture(scope="module")
def both() -> list[dict[Any, Any]]:
    """What both ranks found."""
    return on_ranks(work, 2)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_step_of_two_ranks_is_that_of_one_process(both: list[dict[Any, Any]], wrapper: str, case: str) -> None:
    before = {name: p.detach() for name, p in equipped().policy.named_parameters()}
    expected = stepped("none", None, **CASES[case])
    one, other = (found[wrapper, case] for found in both)
    assert one.keys() == other.keys() == expected.keys()
    for name, p in expected.items():
        torch.testing.assert_close(one[name], p, **CLOSE, msg=lambda said, name=name: f"{name}: {said}")
        assert torch.equal(one[name], other[name])
    assert max(float((p - before[name]).abs().max()) for name, p in expected.items() if name in before) > 0.1


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_gradients_may_be_left_unsynchronised_for_a_while(both: list[dict[Any, Any]], wrapper: str) -> None:
    engine = equipped()
    engine.forward(share(None)).logp_N.sum().backward()
    expected = {name: p.grad for name, p in engine.policy.named_parameters() if p.grad is not None}
    for found in both:
        for name, gradient in expected.items():
            torch.testing.assert_close(found[wrapper, "accumulated"][name], gradient, rtol=1e-4, atol=1e-5)


def test_a_sharded_policy_samples_what_a_whole_one_samples(both: list[dict[Any, Any]]) -> None:
    expected = sampled(equipped())
    assert [found["sampled"] for found in both] == [expected, expected]


def test_of_a_sharded_policy_each_rank_holds_a_share(both: list[dict[Any, Any]]) -> None:
    size = sum(p.numel() for p in equipped().policy.parameters())
    (one, shared), (other, _) = (found["held"] for found in both)
    assert one == shared and one + other == size and abs(one - other) < 0.1 * size
