"""The head without logits gives what autograd over whole logits gives."""

import logging
from dataclasses import replace
from functools import partial
from itertools import accumulate
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import tiny
from scalpel.engine import fused_head, head
from scalpel.engine.head_outputs import Block
from scalpel.engine.head_sizes import HeadSizes
from scalpel.engine.lm_head import Finish, finish_of, wrapped
from scalpel.part import HeadTerm
from scalpel.registry import AXES, register

V, D = 61, 12
AHEAD, BACK = HeadTerm("forward_kl", "teacher", (("temperature", 2.0),)), HeadTerm("reverse_kl", "reference")
FINISHES = {
    "plain": {},
    "capped": {"final_logit_softcapping": 3.0},
    "scaled": {"logit_scale": 0.25},
    "divided": {"logits_scaling": 6.0},
    "all": {"final_logit_softcapping": 3.0, "logit_scale": 4.0, "logits_scaling": 3.0},
}


class Model(nn.Module):
    """Nothing but a head and the settings that change its logits."""

    def __init__(self, bias: bool = False, seed: int = 0, V: int = V, D: int = D, **settings: float) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.lm_head = nn.Linear(D, V, bias=bias)
        text = SimpleNamespace(**settings)
        self.config = SimpleNamespace(get_text_config=lambda: text)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head


def others(n: int, **settings: float) -> head.Others:
    torch.manual_seed(5)
    made = {role: (Model(seed=9 + k, **settings), torch.randn(n, D)) for k, role in enumerate(("reference", "teacher"))}
    return made  # type: ignore[return-value]


SMALL = HeadSizes(chunk=7, block=3, slab=17)  # chunks and blocks that divide nothing
fused = partial(head.fused, sizes=SMALL)


def keeping(kept: int):
    """The fused head that may keep so many bytes of logits for its backward pass."""
    return partial(head.fused, sizes=replace(SMALL, kept=kept))


@pytest.fixture(autouse=True)
def logged_anew():
    head.say.cache_clear()


def given(n: int = 23) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(3)
    return 2 * torch.randn(n, D), torch.randint(0, V, (n,)), torch.randn(n)


def loss_of(out: dict, weight_n: Tensor) -> Tensor:
    """Each number with weights of its own."""
    found = [(k + 1) * (x * weight_n.roll(k)).sum() for k, x in enumerate(out[need] for need in sorted(out, key=str))]
    return torch.stack(found).sum()


def results(path, model: Model, needs, n: int = 23, beside=None, bf16: bool = False, ahead: bool = False, hot=None):
    """Numbers and gradients by one path."""
    hidden_nD, target_n, weight_n = given(n)
    hidden_nD.requires_grad_()
    model.zero_grad()
    more = (weight_n if ahead else None,) if path is not head.plain else ()
    more = more if hot is None else (*more, hot)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = path(model, hidden_nD, target_n, tuple(needs), beside or {}, *more)
    loss_of({need: x for need, x in out.items() if need != "argmax"}, weight_n).backward()
    bias = model.lm_head.bias
    return out, {
        "hidden": hidden_nD.grad,
        "weight": model.lm_head.weight.grad,
        "bias": bias if bias is None else bias.grad,
    }


def assert_same(a, b, tolerance: float = 1e-5) -> None:
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for key in x:
            assert (x[key] is None) == (y[key] is None), key
            if x[key] is not None:
                size = float(y[key].detach().abs().max()) if y[key].numel() else 0.0
                far = (x[key] - y[key]).detach().abs() <= tolerance * size + 1e-12
                assert x[key].dtype == y[key].dtype and bool(far.all()), key


@pytest.mark.parametrize("kept", [0, 2**30], ids=["again", "kept"])
@pytest.mark.parametrize("finish", FINISHES)
@pytest.mark.parametrize(
    "needs", [["logp"], ["logp", "entropy", "argmax"], ["entropy"], ["logp", AHEAD, BACK], [BACK]], ids=str
)
def test_numbers_and_gradients_are_those_of_whole_logits(needs, finish, kept):
    model, beside = Model(bias=finish in ("plain", "all"), **FINISHES[finish]), others(23, **FINISHES[finish])
    beside = {role: beside[role] for role in sorted({n.other for n in needs if isinstance(n, HeadTerm)})}
    assert_same(results(keeping(kept), model, needs, beside=beside), results(head.plain, model, needs, beside=beside))


@pytest.mark.parametrize("finish", FINISHES)
def test_gradients_made_ahead_are_the_same(finish, monkeypatch):
    model = Model(bias=True, **FINISHES[finish])
    expected = results(head.plain, model, ["logp", "argmax"])
    monkeypatch.setattr(fused_head, "gradients", None)  # nothing is computed after the forward pass
    assert_same(results(fused, model, ["logp", "argmax"], ahead=True), expected)


def temperatures(n: int = 23) -> Tensor:
    """Of tokens that were sampled at two temperatures, and of others that were not sampled."""
    return torch.tensor([0.7, 1.0, 2.5])[torch.arange(n) % 3]


@pytest.mark.parametrize("way", ["again", "kept", "ahead"])
@pytest.mark.parametrize("finish", FINISHES)
@pytest.mark.parametrize("needs", [["logp"], ["logp", "entropy", "argmax"], ["entropy"], ["logp", BACK]], ids=str)
def test_a_temperature_reaches_every_path(needs, finish, way, monkeypatch):
    if way == "ahead" and needs != ["logp"]:
        pytest.skip("known for log-probs alone")
    path = keeping(2**30 if way == "kept" else 0)
    model, beside = Model(bias=True, **FINISHES[finish]), others(23, **FINISHES[finish])
    beside = {role: beside[role] for role in sorted({n.other for n in needs if isinstance(n, HeadTerm)})}
    expected = results(head.plain, model, needs, beside=beside, hot=temperatures())
    if way == "ahead":
        monkeypatch.setattr(fused_head, "gradients", None)
    found = results(path, model, needs, beside=beside, ahead=way == "ahead", hot=temperatures())
    assert_same(found, expected)


def test_log_probs_and_entropies_are_those_of_the_logits_over_the_temperature_and_terms_are_not():
    model, (hidden_nD, target_n, weight_n), hot_n = Model(final_logit_softcapping=3.0), given(), temperatures()
    beside = {"reference": others(23, final_logit_softcapping=3.0)["reference"]}
    for path, more in ((fused, (None,)), (head.plain, ())):
        out = path(model, hidden_nD, target_n, ("logp", "entropy", BACK), beside, *more, hot_n)
        z_nV = 3 * torch.tanh(model.lm_head(hidden_nD) / 3)
        p_nV = (z_nV / hot_n[:, None]).log_softmax(-1)
        torch.testing.assert_close(out["logp"], p_nV.gather(1, target_n[:, None])[:, 0])
        torch.testing.assert_close(out["entropy"], -(p_nV.exp() * p_nV).sum(-1))
        assert torch.equal(out[BACK], path(model, hidden_nD, target_n, (BACK,), beside, *more)[BACK])
        model.zero_grad()
        (found_VD,) = torch.autograd.grad((out["logp"] * weight_n).sum(), model.lm_head.weight)
        (wanted_VD,) = torch.autograd.grad(
            (p_nV.gather(1, target_n[:, None])[:, 0] * weight_n).sum(), model.lm_head.weight
        )
        torch.testing.assert_close(found_VD, wanted_VD, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", ["again", "kept", "ahead", "plain"])
def test_a_temperature_of_one_changes_no_bit(way):
    path = head.plain if way == "plain" else keeping(2**30 if way == "kept" else 0)
    needs = ["logp"] if way == "ahead" else ["logp", "entropy"]
    model = Model(bias=True, **FINISHES["all"])
    plain, one = (results(path, model, needs, ahead=way == "ahead", hot=hot) for hot in (None, torch.ones(23)))
    assert all(torch.equal(x[key], y[key]) for x, y in zip(plain, one, strict=True) for key in x)


@pytest.mark.parametrize("n", [0, 1, 7, 14])
@pytest.mark.parametrize("ahead", [False, True])
def test_any_number_of_tokens_goes(n, ahead):
    model, needs = Model(), ["logp", "argmax"]
    assert_same(results(fused, model, needs, n, ahead=ahead), results(head.plain, model, needs, n))


def test_an_expectation_that_fails_changes_nothing():
    model = Model()
    hidden_nD, target_n, weight_n = given()
    found = []
    for slope_n in (None, weight_n):
        h_nD = hidden_nD.clone().requires_grad_()
        model.zero_grad()
        out = fused(model, h_nD, target_n, ("logp", "entropy"), {}, slope_n)
        (2 * (out["logp"] * weight_n).sum() + out["entropy"].sum()).backward()
        found.append((out, {"hidden": h_nD.grad, "weight": model.lm_head.weight.grad.clone()}))
    assert_same(found[1], found[0])
    h_nD = hidden_nD.clone().requires_grad_()
    out = fused(model, h_nD, target_n, ("logp", "entropy"), {}, weight_n)
    out["entropy"].sum().backward()  # log-probs don't take part at all
    assert float(h_nD.grad.abs().max()) > 0


@pytest.mark.parametrize("ahead", [False, True])
def test_a_graph_may_be_gone_through_twice_and_used_twice(ahead):
    model, (hidden_nD, target_n, weight_n) = Model(), given()

    def twice(path, *more) -> Tensor:
        model.zero_grad()
        first = path(model, hidden_nD, target_n, ("logp",), {}, *more)["logp"]
        second = path(model, 2 * hidden_nD, target_n, ("logp",), {}, *more)["logp"]
        loss = ((first + second) * weight_n).sum()
        loss.backward(retain_graph=True)
        once = model.lm_head.weight.grad.clone()
        loss.backward()
        torch.testing.assert_close(model.lm_head.weight.grad, 2 * once)
        return once

    torch.testing.assert_close(twice(fused, weight_n if ahead else None), twice(head.plain), rtol=1e-4, atol=1e-5)


def test_micro_batches_add_up_and_hooks_see_each():
    model, (hidden_nD, target_n, weight_n) = Model(), given()
    (fused(model, hidden_nD, target_n, ("logp",), {}, None)["logp"] * weight_n).sum().backward()
    whole = model.lm_head.weight.grad.clone()
    model.zero_grad()
    seen: list[Tensor] = []
    model.lm_head.weight.register_hook(lambda g: seen.append(g.clone()))
    for cut in (slice(0, 10), slice(10, 11), slice(11, None)):
        out = fused(model, hidden_nD[cut], target_n[cut], ("logp",), {}, weight_n[cut])
        (out["logp"] * weight_n[cut]).sum().backward()
    torch.testing.assert_close(model.lm_head.weight.grad, whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sum(seen), whole, rtol=1e-5, atol=1e-5)
    assert len(seen) == 3


@pytest.mark.parametrize("ahead", [False, True])
def test_a_frozen_head_gets_no_gradient_and_passes_it_on(ahead):
    trainables = watched(lambda: results(fused, Model(), ["logp"], ahead=ahead))[1]
    assert ("new_zeros.default", (V, D), torch.float32) in trainables
    model = Model(bias=True).requires_grad_(False)
    seen = watched(lambda: results(fused, model, ["logp"], ahead=ahead))[1]
    assert ("new_zeros.default", (V, D), torch.float32) not in seen
    assert_same(results(fused, model, ["logp"], ahead=ahead), results(head.plain, model, ["logp"]))


def test_nothing_is_kept_or_made_ahead_where_nothing_has_a_gradient(monkeypatch):
    model, (hidden_nD, target_n, weight_n) = Model(), given()
    monkeypatch.setattr(fused_head, "Gradients", None)
    with torch.no_grad():
        out = fused(model, hidden_nD, target_n, ("logp",), {}, weight_n)
    assert not out["logp"].requires_grad


def test_a_weight_that_changes_before_the_backward_pass_is_noticed():
    model, (hidden_nD, target_n, _) = Model(), given()
    out = fused(model, hidden_nD, target_n, ("logp",), {}, None)
    with torch.no_grad():
        model.lm_head.weight.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out["logp"].sum().backward()


# --- arithmetic and memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["again", "kept", "ahead"])
@pytest.mark.parametrize("finish", ["plain", "all"])
def test_bfloat16_is_as_near_to_the_truth_as_autograd_in_bfloat16(way, finish):
    model, needs = Model(bias=True, **FINISHES[finish]), ["logp"] if way == "ahead" else ["logp", "entropy"]
    truth = results(head.plain, model, needs)
    rough = results(head.plain, model, needs, bf16=True)
    ours = results(keeping(2**30 if way == "kept" else 0), model, needs, bf16=True, ahead=way == "ahead")
    for exact, theirs, mine in zip(truth, rough, ours, strict=True):
        for key in exact:
            far = lambda x, y: float((x - y).detach().norm() / y.detach().norm())  # noqa: E731
            assert mine[key].dtype == torch.float32
            assert far(mine[key], exact[key]) <= 1.2 * far(theirs[key], exact[key]) + 1e-4, key


def test_weights_in_bfloat16_get_gradients_in_bfloat16():
    model = Model().bfloat16()
    hidden_nD, target_n, weight_n = given()
    out = fused(model, hidden_nD.bfloat16().requires_grad_(), target_n, ("logp",), {}, None)
    (out["logp"] * weight_n).sum().backward()
    assert out["logp"].dtype == torch.float32 and model.lm_head.weight.grad.dtype == torch.bfloat16


class Watch(TorchDispatchMode):
    """Records every tensor that an operation gives, views apart: by which one, its shape and type."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, tuple[int, ...], torch.dtype]] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else [out]:
            if isinstance(x, Tensor) and not x._is_view():
                self.seen.add((func.__name__, tuple(x.shape), x.dtype))
        return out


def watched(run):
    with Watch() as watch:
        return run(), watch.seen


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("bf16", [False, True])
def test_no_pass_ever_holds_whole_logits(ahead, bf16):
    model, needs, n = Model(), ["logp"] if ahead else ["logp", "entropy"], 200
    enough = keeping(n * V * 2)  # for bfloat16 alone

    def largest(path, **more) -> dict[torch.dtype, int]:
        seen = watched(lambda: results(path, model, needs, n, bf16=bf16, **more))[1]
        tokens = [(dtype, shape[0]) for _, shape, dtype in seen if shape[1:] == (V,) and shape[0] != D]
        return {dtype: max(count for of, count in tokens if of == dtype) for dtype, _ in tokens}

    keeps = bf16 and not ahead  # the only whole logits are those that may be kept
    assert largest(enough, ahead=ahead) == (
        {torch.float32: 3, torch.bfloat16: n if keeps else 7} if bf16 else {torch.float32: 7}
    )
    assert largest(head.plain)[torch.float32] == n


def peak(run) -> int:
    """Bytes that were held at most while it ran, as the allocator tells them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    return max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())))


@pytest.mark.parametrize("way", ["again", "kept", "ahead", "plain", "checkpointed"])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(
    ("needs", "finish", "hot"),
    [
        (["logp"], "plain", False),
        (["logp"], "all", False),
        (["logp", "entropy"], "plain", False),
        (["logp", AHEAD, BACK], "plain", False),
        (["logp"], "plain", True),
        (["logp", "entropy"], "all", True),
    ],
    ids=str,
)
def test_the_memory_that_is_reckoned_is_what_the_allocator_gives(needs, finish, hot, bf16, way):
    n, V, D, ahead = 300, 2048, 32, way == "ahead"
    if ahead and needs != ["logp"]:
        pytest.skip("known for log-probs alone")
    kept, plain_chunk = 2**30 if way == "kept" else 0, 100 if way == "checkpointed" else 1024
    sizes = HeadSizes(chunk=64, block=16, slab=256, kept=kept, plain_chunk=plain_chunk)
    made = [Model(V=V, D=D, seed=k, vocab_size=V, **FINISHES[finish]) for k in range(3)]
    model = replaced_by_itself(made[0]) if way in ("plain", "checkpointed") else made[0]
    roles = [need.other for need in needs if isinstance(need, HeadTerm)]
    beside = dict(zip(roles, made[1:], strict=False))
    hidden_nD, target_n, weight_n = torch.randn(n, D, requires_grad=True), torch.randint(0, V, (n,)), torch.randn(n)
    shown = {role: (other, torch.randn(n, D)) for role, other in beside.items()}

    def run() -> None:
        hot_n = temperatures(n) if hot else None
        out = head.head(model, hidden_nD, target_n, frozenset(needs), shown, weight_n if ahead else None, hot_n, sizes)
        loss_of(out, weight_n).backward()

    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        said = head.head_bytes(model, n, needs, beside, ahead, sizes)
        assert 0.9 < said / peak(run) < 1.15


def test_blocks_are_cut_by_the_vocabulary():
    for V in (128, 49_152, 262_144):
        chunk, block = HeadSizes().of(SimpleNamespace(weight_VD=torch.empty(V, 1)))
        assert chunk >= 256 and 1 <= block <= chunk and block * V <= 2**18


# --- slopes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(AXES["slope"]))
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_slope_of_a_term_is_its_derivative(name, temperature):
    torch.manual_seed(1)
    hyper = {"temperature": temperature} if name == "forward_kl" else {}
    logits_CV, other_CV, target_C = torch.randn(4, 9, dtype=torch.float64), torch.randn(4, 9).double(), torch.arange(4)
    term_C = AXES["term"][name](logits_CV.requires_grad_(), other_CV, target_C, **hyper)
    (expected_CV,) = torch.autograd.grad(term_C.sum(), logits_CV)
    torch.testing.assert_close(AXES["slope"][name](logits_CV.detach(), other_CV, target_C, **hyper), expected_CV)


def test_every_slope_stands_beside_a_term():
    assert set(AXES["slope"]) <= set(AXES["term"])


def test_a_finish_goes_back_the_way_it_came():
    finish, raw_CV = Finish(factor=0.7, cap=2.0), torch.randn(3, 5, requires_grad=True)
    logits_CV = finish.logits(raw_CV)
    slope_CV = torch.randn(3, 5)
    (expected_CV,) = torch.autograd.grad(logits_CV, raw_CV, slope_CV)
    torch.testing.assert_close(finish.back(slope_CV.clone(), logits_CV.detach()), expected_CV)


@pytest.mark.parametrize("kind", ["cohere", "granite", "gemma2"])
def test_the_finish_of_an_architecture_is_read_from_its_config(kind, monkeypatch):
    changes = {
        "cohere": {"logit_scale": 0.125},
        "granite": {"logits_scaling": 4.0},
        "gemma2": {"final_logit_softcapping": 5.0},
    }
    shape = {k: v for k, v in tiny.COMMON.items() if k != "head_dim"}
    monkeypatch.setitem(tiny.SHAPES, kind, tiny.SHAPES.get(kind, shape))
    model = tiny.model(kind, **changes[kind])
    assert finish_of(model.config) != Finish() and head.head_agrees(model) and wrapped(model) is None


def test_a_block_of_logits_read_twice_gives_the_same():
    block = Block(torch.randn(3, 5), torch.tensor([0, 4, 2]), {})
    one = block.slope({"logp": torch.ones(3), "entropy": torch.ones(3)})
    assert torch.equal(one, block.slope({"logp": torch.ones(3), "entropy": torch.ones(3)}))


# --- heads that are more than a matrix ------------------------------------------------------------------------


def hooked(model: Model) -> Model:
    model.lm_head.register_forward_hook(lambda module, args, out: 2 * out)
    return model


def replaced(model: Model) -> Model:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    model.lm_head = Doubled(D, V)
    return model


def replaced_by_itself(model: Model) -> Model:
    """A head of another class, and the same for the rest."""

    class Same(nn.Linear):
        pass

    model.lm_head.__class__ = Same
    return model


def patched(model: Model) -> Model:
    own = model.lm_head.forward
    model.lm_head.forward = lambda x: 2 * own(x)
    return model


def parametrized(model: Model) -> Model:
    nn.utils.parametrizations.weight_norm(model.lm_head)
    return model


WRAPPINGS = {
    hooked: "carries hooks",
    replaced: "is a Doubled",
    patched: "forward pass of its own",
    parametrized: "is a P",
}


@pytest.mark.parametrize("wrap", WRAPPINGS, ids=lambda f: f.__name__)
def test_a_wrapped_head_goes_the_plain_way_and_the_log_says_so_once(wrap, caplog):
    model = wrap(Model())
    hidden_nD, target_n, _ = given()
    with caplog.at_level(logging.INFO, "scalpel"):
        for _ in range(2):
            out = head.head(model, hidden_nD, target_n, frozenset({"logp"}), {})
    expected = model.lm_head(hidden_nD).log_softmax(-1).gather(1, target_n[:, None])[:, 0]
    torch.testing.assert_close(out["logp"], expected, rtol=1e-5, atol=1e-5)
    assert len(caplog.records) == 1 and WRAPPINGS[wrap] in caplog.text


def test_a_wrapped_head_beside_counts_too(caplog):
    hidden_nD, target_n, _ = given()
    beside = {**others(23), "reference": (hooked(Model()), hidden_nD)}
    with caplog.at_level(logging.INFO, "scalpel"):
        head.head(Model(), hidden_nD, target_n, frozenset({BACK}), beside)
    assert "the head of the reference model carries hooks" in caplog.text


def test_a_term_without_a_slope_is_differentiated_by_autograd(monkeypatch, caplog):
    monkeypatch.setitem(AXES, "term", dict(AXES["term"]))
    register("term", "energy")(lambda logits_CV, other_CV, target_C: -logits_CV.logsumexp(-1))
    model, (hidden_nD, target_n, _), need = Model(), given(), HeadTerm("energy")
    with caplog.at_level(logging.INFO, "scalpel"):
        head.head(model, hidden_nD, target_n, frozenset({need}), {})[need].sum().backward()
    expected = -torch.einsum("nv,nd->vd", model.lm_head(hidden_nD).softmax(-1), hidden_nD)
    torch.testing.assert_close(model.lm_head.weight.grad, expected, rtol=1e-4, atol=1e-5)
    assert "'energy' has no slope" in caplog.text
    caplog.clear()
    with torch.no_grad(), caplog.at_level(logging.INFO, "scalpel"):  # its value needs none
        head.head(model, hidden_nD, target_n, frozenset({need}), {})
    assert not caplog.records
