"""Names, pieces of a model, and the scopes that choose among them."""

from functools import partial

import pytest
import torch

import material
import tiny
from scalpel.models.adapters import adapt
from scalpel.models.module_names import components_of, layer_of
from scalpel.models.parameter_blocks import layer_numbers, pieces
from scalpel.part import bind
from scalpel.scope import Scope, ScopeContext
from scalpel.scopes.hft import category, half, unit
from scalpel.scopes.lift import low_rank, principal

SHAPE = pytest.mark.parametrize("kind", sorted(tiny.SHAPES))


def attach(model, name: str, seed: int = 3, **hyper) -> Scope:
    return bind("scope", name, **hyper)(model, ScopeContext(seed, partial(adapt, model)))


@pytest.mark.parametrize(
    ("name", "components", "layer"),
    [
        ("model.layers.11.self_attn.q_proj.weight", ("q",), 11),
        ("model.layers.0.self_attn.q_norm.weight", ("norms",), 0),
        ("model.layers.3.self_attn.k_proj.lora_A.default.weight", ("k",), 3),
        ("model.layers.3.mlp.down_proj.base_layer.weight", ("down",), 3),
        ("model.layers.2.mlp.gate_up_proj.weight", ("gate", "up"), 2),
        ("transformer.h.4.attn.c_attn.bias", ("q", "k", "v"), 4),
        ("transformer.h.4.attn.c_proj.weight", ("o",), 4),
        ("transformer.h.4.mlp.c_proj.weight", ("down",), 4),
        ("transformer.h.4.ln_2.weight", ("norms",), 4),
        ("transformer.ln_f.bias", ("norms",), None),
        ("transformer.wpe.weight", ("positions",), None),
        ("gpt_neox.layers.1.attention.dense.weight", ("o",), 1),
        ("model.embed_tokens.weight", ("embeddings",), None),
        ("lm_head.weight", ("head",), None),
        ("model.layers.5.mlp.router.weight", ("router",), 5),
    ],
)
def test_a_name_tells_component_and_layer(name: str, components: tuple[str, ...], layer: int | None) -> None:
    assert components_of(name) == components and layer_of(name) == layer


@SHAPE
def test_pieces_cover_every_entry_of_every_parameter_once(kind: str) -> None:
    model = tiny.model(kind)
    seen = {name: torch.zeros(p.numel()) for name, p in model.named_parameters()}
    for piece in pieces(model):
        seen[piece.name][piece.index] += 1
    assert all(bool((count == 1).all()) for count in seen.values())


def test_the_queries_inside_gpt2_s_fused_matrix_are_what_makes_queries() -> None:
    model = tiny.model("gpt2")
    attention = model.transformer.h[0].attn
    hidden = torch.randn(1, 4, 16)
    before = attention.c_attn(hidden).split(16, dim=-1)
    scope = attach(model, "components", components=["q"])
    with torch.no_grad():
        for m in scope.trainables:
            m.value.add_(1.0)
            m.scatter()
    after = attention.c_attn(hidden).split(16, dim=-1)
    assert not torch.allclose(before[0], after[0])
    assert torch.equal(before[1], after[1]) and torch.equal(before[2], after[2])


@pytest.mark.parametrize(
    ("written", "numbers"),
    [("all", {0, 1, 2, 3}), ("1-2", {1, 2}), ("0, 2-3", {0, 2, 3}), ([-1], {3}), ("3", {3})],
)
def test_layers_are_read_as_written(written, numbers: set[int]) -> None:
    assert layer_numbers(written, 4) == numbers


@pytest.mark.parametrize("written", ["4-7", "0-4", [], [4], [-5]])
def test_layers_that_are_not_there_are_refused_with_those_that_are(written) -> None:
    with pytest.raises(ValueError, match="layers 0-3"):
        layer_numbers(written, 4)


@pytest.mark.parametrize("written", ["middle", "1-", "-2", ""])
def test_layers_that_can_t_be_read_are_refused_with_an_example(written: str) -> None:
    with pytest.raises(ValueError, match='write "all", "4-7"'):
        layer_numbers(written, 4)


def test_a_component_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="unknown component of this model 'qq': .*down, embeddings, gate.*"):
        attach(tiny.model(), "components", components=["qq"])
    with pytest.raises(ValueError, match="no parameter is embeddings in layers '0': this model has"):
        attach(tiny.model(), "components", components=["embeddings"], layers="0")
    with pytest.raises(ValueError, match="no target module is named 'qkv'.*this model has"):
        attach(tiny.model(), "lora", targets=["qkv"])


def test_freezing_everything_is_refused() -> None:
    every = sorted({p.component for p in pieces(tiny.model())})
    with pytest.raises(ValueError, match="all parameters are frozen"):
        attach(tiny.model(), "components", components=every, freeze=True)


@SHAPE
@pytest.mark.parametrize("layers", [4, 6])
def test_hft_draws_exactly_half_of_each_category_and_layer(kind: str, layers: int) -> None:
    many = {"gpt2": {"n_layer": layers}}.get(kind, {"num_hidden_layers": layers})
    found = [p for p in pieces(tiny.model(kind, **many)) if p.layer is not None]
    drawn = half(found, seed=5)
    for part in ("attention", "mlp", "norm"):
        units = [{unit(p) for p in found if p.layer == k and category(p) == part} for k in range(layers)]
        sizes = [len(u & drawn) for u in units]
        assert sum(sizes) * 2 == sum(map(len, units))
        assert all(size in (len(u) // 2, -(-len(u) // 2)) for size, u in zip(sizes, units, strict=True))


def test_hft_draws_anew_each_round_and_the_same_for_the_same_seed() -> None:
    names = lambda scope: {m.name for m in scope.trainables}  # noqa: E731
    scope, twin, other = (attach(tiny.model(), "hft", seed=s, round=3) for s in (1, 1, 2))
    first = names(scope)
    assert names(twin) == first != names(other)
    assert scope.refresh(1) is None and scope.refresh(2) is None and names(scope) == first
    assert scope.refresh(3) is not None and names(scope) != first


def test_principal_weights_at_full_rank_are_the_largest_by_magnitude() -> None:
    W = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    index = principal(W, rank=8, k=10)
    assert set(index.tolist()) == set(W.abs().view(-1).topk(10).indices.tolist())


def test_principal_weights_are_those_of_the_low_rank_part_and_not_of_the_weight() -> None:
    u, v = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([0.0, 1.0, 1.0])
    W = 4 * torch.outer(u, v)
    W[0, 0] = 5.0  # the largest entry, but of a direction of its own: singular values 8 and 5
    assert principal(W, rank=1, k=4).tolist() == [7, 8, 10, 11]
    assert 0 in principal(W, rank=2, k=4).tolist()
    torch.testing.assert_close(low_rank(W, 1), 4 * torch.outer(u, v))


def test_a_randomised_svd_finds_the_same_weights_where_the_spectrum_falls() -> None:
    generator = torch.Generator().manual_seed(0)
    U, V = torch.randn(40, 2, generator=generator), torch.randn(30, 2, generator=generator)
    W = U @ V.T + 1e-4 * torch.randn(40, 30, generator=generator)
    assert torch.equal(principal(W, 2, 60), principal(W, 2, 60, "randomised", seed=1))


@pytest.mark.parametrize(("hyper", "k"), [({"share": 0.1}, 25), ({"budget": 2}, 64), ({"share": 1.0}, 256)])
def test_lift_s_share_and_budget_say_how_many_entries_of_each_matrix_move(hyper: dict, k: int) -> None:
    scope = attach(tiny.model(), "lift", **hyper)
    square = next(m for m in scope.trainables if "layers.0.self_attn.q_proj" in m.name)
    assert square.weight.shape == (16, 16) and square.value.numel() == k


def test_lift_keeps_the_state_of_entries_that_stay() -> None:
    model = tiny.model()
    scope = attach(model, "lift", share=0.1, interval=4)
    old = scope.trainables[0]
    with torch.no_grad():
        old.weight.view(-1)[200:] *= 30  # other directions become principal
    index_map = scope.refresh(4)
    assert scope.refresh(5) is None and index_map is not None
    new, places = scope.trainables[0], index_map[old.name]
    assert old.index is not None and new.index is not None and places is not None
    assert 0 < int((places >= 0).sum()) < len(places)
    assert torch.equal(old.index[places[places >= 0]], new.index[places >= 0])


def test_adapters_on_a_shared_embedding_and_of_an_unknown_kind_are_refused() -> None:
    model = tiny.model()
    with pytest.raises(ValueError, match="they are tied in this model"):
        adapt(model, "lora", {"target_modules": ["lm_head"]}, 0)
    with pytest.raises(ValueError, match="unknown kind of adapter 'lorra': did you mean 'lora'"):
        adapt(model, "lorra", {"target_modules": ["q_proj"]}, 0)


def test_a_target_that_no_model_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="is named 'gat'.*did you mean 'gate'"):
        attach(tiny.model(), "lora", targets=["q", "gat"])


def test_a_head_without_a_weight_of_its_own_is_no_target() -> None:
    with pytest.raises(ValueError, match="is tied to the embedding.*scope 'components'"):
        attach(tiny.model(), "lora", targets=["q", "head"])


def test_adapters_of_a_half_precision_model_learn_in_float32_and_fold_into_it() -> None:
    model = tiny.model().to(torch.bfloat16)
    scope = attach(model, "lora")
    assert {m.value.dtype for m in scope.trainables} == {torch.float32}
    model(torch.arange(7, 12)[None], labels=torch.arange(7, 12)[None]).loss.backward()
    assert all(m.value.grad is not None for m in scope.trainables)
    scope.fold()
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_a_second_stage_may_put_new_adapters_where_the_first_were_folded() -> None:
    model = tiny.model()
    attach(model, "lora").fold()
    scope = attach(model, "lora", rank=2)
    assert {m.value.shape[0] for m in scope.trainables if "lora_A" in m.name} == {2}


def test_the_engine_and_its_sampler_see_adapters() -> None:
    engine = material.engine()
    prompt = [engine.tokens.prompt("ab")]
    scope = attach(engine.model, "lora")
    greedy = material.Sampling(max_tokens=6, temperature=0.0)
    before = engine.sample(prompt, greedy)[0][0]
    with torch.no_grad():
        for m in scope.trainables:
            m.value.add_(0.3)
    after = engine.sample(prompt, greedy)[0][0]
    assert before.ids != after.ids
    assert engine.logps([(prompt[0], after.ids)])[0] == pytest.approx(after.logp, abs=1e-4)
