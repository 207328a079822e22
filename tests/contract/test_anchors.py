"""What every anchor keeps to, by being registered."""

import pytest
import torch

import material
from scalpel.engine import Engine
from scalpel.part import Bound
from scalpel.registry import AXES
from scalpel.training.step import clean

VARIANTS = {material.label(b): b for b in material.parts("anchor") if b.hyper.get("beta", 1.0) and b.at(0.0)}
OUTPUT = pytest.mark.parametrize("bound", [b for b in VARIANTS.values() if b.part.over == "output"], ids=material.label)
WEIGHTS = pytest.mark.parametrize(
    "bound", [b for b in VARIANTS.values() if b.part.over != "output"], ids=material.label
)


def penalty(bound: Bound, engine: Engine) -> torch.Tensor:
    """The anchor's penalty on samples of the engine's own policy."""
    batch = AXES["source"]["groups"].fn(material.context(engine, max_tokens=6), size=2)
    reference_N = engine.score(batch, "reference").logp_N
    out = clean(engine.forward(batch, bound.declared("needs")), batch)
    return bound(out, material.replace(batch, reference_N=reference_N))[0] / bound.count(batch, 0.0)


@OUTPUT
def test_at_home_there_is_no_penalty(bound: Bound) -> None:
    assert abs(float(penalty(bound, material.engine(reference=0)).detach())) < 1e-6


@OUTPUT
def test_away_from_home_a_step_down_the_gradient_leads_back(bound: Bound) -> None:
    engine = material.engine(seed=0, reference=1)
    before = penalty(bound, engine)
    before.backward()
    slopes = [(p, p.grad) for p in engine.model.parameters() if p.grad is not None]
    size = sum(float((g**2).sum()) for _, g in slopes)
    if bound.hyper["estimator"] != "k1":  # a single sample's k1 may be negative
        assert float(before.detach()) > 0
    assert size > 0
    batch = AXES["source"]["groups"].fn(material.context(engine, max_tokens=6), size=2)
    reference_N = engine.score(batch, "reference").logp_N

    def again() -> float:
        out = clean(engine.score(batch, needs=bound.declared("needs")), batch)
        return float(bound(out, material.replace(batch, reference_N=reference_N))[0] / bound.count(batch, 0.0))

    here = again()
    with torch.no_grad():
        for p, g in slopes:
            p.sub_(1e-3 * abs(here) / size * g)
    assert again() < here


@OUTPUT
def test_only_trained_tokens_are_held(bound: Bound) -> None:
    batch = material.batch()
    x = material.numbers(batch, bound)
    loss, _ = material.call(bound, x, batch)
    found = torch.autograd.grad(loss, list(x.values()), allow_unused=True)
    assert all(g is None or bool((g[~batch.train_N] == 0).all()) for g in found)


@WEIGHTS
def test_weights_at_home_have_no_penalty_and_away_are_pulled_back(bound: Bound) -> None:
    home = {name: p.detach().clone() for name, p in material.engine().model.named_parameters()}
    now = {name: p.clone().requires_grad_() for name, p in home.items()}
    nothing, _ = bound(now, home)
    assert float(nothing.detach()) == 0.0 and all(not g.any() for g in torch.autograd.grad(nothing, list(now.values())))
    away = {name: (p + torch.where(torch.rand_like(p) < 0.5, 0.1, -0.1)).requires_grad_() for name, p in home.items()}
    some, _ = bound(away, home)
    assert float(some.detach()) > 0
    for name, g in zip(away, torch.autograd.grad(some, list(away.values())), strict=True):
        assert bool((g * (away[name] - home[name]) > 0).all())
