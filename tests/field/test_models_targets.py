"""What adapters go on: by component, by PEFT's names, by pattern; experts and states as much as attention."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import PreTrainedModel

import scalpel.scopes  # noqa: F401  (registers the scopes)
import tiny
from scalpel.models.adapters import adapt
from scalpel.models.module_names import components_of
from scalpel.models.parameter_blocks import pieces
from scalpel.pair.anatomy import component
from scalpel.part import bind
from scalpel.scope import Scope, ScopeContext

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # PEFT's own
IDS = torch.arange(7, 25)[None]
EXPERTS = {**tiny.COMMON, "num_local_experts": 3, "num_experts": 3, "num_experts_per_tok": 2}
STATE = {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "intermediate_size": 32, "time_step_rank": 4}
SHAPES: dict[str, dict[str, Any]] = {
    "mixtral": EXPERTS,
    "qwen3_moe": {**EXPERTS, "moe_intermediate_size": 16},
    "gpt_oss": {**EXPERTS, "sliding_window": 64},
    "phi3": {**tiny.COMMON, "num_attention_heads": 2, "num_key_value_heads": 1},
    "falcon": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
    "mamba": STATE,
    "rwkv": {"hidden_size": 16, "attention_hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2},
}


@pytest.fixture(autouse=True)
def shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, shape in SHAPES.items():
        monkeypatch.setitem(tiny.SHAPES, kind, shape)


def attach(kind: str, **options: Any) -> tuple[PreTrainedModel, Scope]:
    model = tiny.model(kind, tie_word_embeddings=False)
    return model, bind("scope", "lora", rank=4, **options)(model, ScopeContext(3, partial(adapt, model)))


def adapted(scope: Scope) -> set[str]:
    """The modules and parameters that have adapters, without their numbers."""
    found = set()
    for m in scope.trainables:
        steps = [s for s in m.name.split(".lora_")[0].split(".") if s not in ("model", "layers", "base_layer")]
        found.add(".".join(s for s in steps if not s.isdigit()))
    return found


LLAMA = {f"self_attn.{x}_proj" for x in "qkvo"} | {f"mlp.{x}_proj" for x in ("gate", "up", "down")}


@pytest.mark.parametrize(
    ("kind", "targets", "expected"),
    [
        ("llama", None, LLAMA),
        ("llama", ["q_proj", "v_proj"], {"self_attn.q_proj", "self_attn.v_proj"}),
        ("llama", ["self_attn.q_proj", "up"], {"self_attn.q_proj", "mlp.up_proj"}),
        ("llama", "all-linear", LLAMA),
        ("llama", "q_proj", {"self_attn.q_proj"}),
        ("llama", r"model\.layers\.1\..*(up|down)_proj", {"mlp.up_proj", "mlp.down_proj"}),
        ("llama", ["lm_head"], {"lm_head"}),
        ("gpt2", None, {"transformer.h." + x for x in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")}),
        ("phi3", None, {"self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"}),
        ("mixtral", None, {f"self_attn.{x}_proj" for x in "qkvo"} | {"mlp.experts"}),
        ("mixtral", ["gate", "up", "down"], {"mlp.experts"}),
        ("mamba", None, {"backbone.mixer.in_proj", "backbone.mixer.x_proj"}),
    ],
)
def test_targets_are_components_names_of_peft_patterns_or_all(kind: str, targets: Any, expected: set[str]) -> None:
    _, scope = attach(kind, **({} if targets is None else {"targets": targets}))
    assert adapted(scope) == expected


def test_a_pattern_adapts_the_layers_that_it_names_and_no_other() -> None:
    _, scope = attach("llama", targets=r"model\.layers\.1\..*up_proj")
    assert {m.name.split(".")[2] for m in scope.trainables} == {"1"} and len(scope.trainables) == 2


@pytest.mark.parametrize("targets", [["q_proj", "nobody"], "nobody", ["router"], "(", ["embed_tokens"]])
def test_targets_that_match_nothing_are_refused_with_what_there_is(targets: Any) -> None:
    with pytest.raises(ValueError, match=r"no target module is named .*components .*gate.*gate_up_proj.*all-linear"):
        attach("mixtral", targets=targets)


@pytest.mark.parametrize("kind", [*SHAPES, "gpt2"])
def test_folded_exported_and_in_peft_it_is_the_same_model(kind: str, tmp_path: Path) -> None:
    model, scope = attach(kind)
    names = [name for name, _ in tiny.model(kind, tie_word_embeddings=False).named_parameters()]
    plain = tiny.model(kind, tie_word_embeddings=False)
    with torch.no_grad():
        for k, m in enumerate(scope.trainables):
            m.value.normal_(std=0.1, generator=torch.Generator().manual_seed(k))
        expected = model(IDS).logits
        assert not torch.allclose(expected, plain(IDS).logits, atol=1e-4)
        if scope.off is not None:
            with scope.off():
                torch.testing.assert_close(model(IDS).logits, plain(IDS).logits)
        assert scope.export is not None
        scope.export(tmp_path)
        said = json.loads((tmp_path / "adapter_config.json").read_text())
        assert said["target_modules"] == sorted(said["target_modules"])
        loaded = PeftModel.from_pretrained(plain, str(tmp_path)).eval()
        torch.testing.assert_close(loaded(IDS).logits, expected, atol=1e-5, rtol=1e-5)
        scope.fold()
        assert {name for name, _ in model.named_parameters()} == set(names)
        torch.testing.assert_close(model(IDS).logits, expected, atol=1e-5, rtol=1e-5)


def test_experts_stay_frozen_or_are_refused_where_their_adapters_can_not_be(caplog: pytest.LogCaptureFixture) -> None:
    _, scope = attach("mixtral", dropout=0.1)
    assert not any("experts" in name for name in adapted(scope))
    assert "experts of this model stay frozen" in caplog.text
    with pytest.raises(ValueError, match="adapters on experts don't support magnitude"):
        attach("mixtral", targets=["up"], magnitude=True)


def test_the_router_is_no_gate_and_experts_have_rows_of_their_own() -> None:
    assert components_of("model.layers.0.mlp.gate.weight") == ("router",)
    assert components_of("model.layers.0.block_sparse_moe.gate.weight") == ("router",)
    assert components_of("model.layers.0.mlp.gate_proj.weight") == ("gate",)
    assert component("model.layers.1.mlp.experts.gate_up_proj") == ("experts gate+up", 1)
    assert component("model.layers.1.block_sparse_moe.experts.5.w2.weight") == ("experts down", 1)
    assert component("model.layers.1.mlp.gate.weight") == ("router", 1)


@pytest.mark.parametrize("kind", ["mixtral", "gpt_oss"])
def test_gate_and_up_are_told_apart_inside_experts(kind: str) -> None:
    model = tiny.model(kind)
    parts = {p.component: p for p in pieces(model) if p.name.endswith("layers.0.mlp.experts.gate_up_proj")}
    assert set(parts) == {"gate", "up"}
    both = torch.cat([p.index for p in parts.values()])
    assert len(both) == len(both.unique()) == parts["up"].parameter.numel()
    flat = torch.zeros(parts["gate"].parameter.numel(), dtype=torch.bool)
    flat[parts["gate"].index] = True
    mask = flat.view(parts["gate"].parameter.shape)
    assert mask[:, :, ::2].all() if kind == "gpt_oss" else mask[:, :32].all()
