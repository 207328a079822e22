"""Mixtures of experts: what a target's name means there, and that no expert is left out of what moves."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

import scalpel.scopes  # noqa: F401  (registers the scopes)
import tiny
from scalpel import models
from scalpel.models.adapters import adapt
from scalpel.models.merge import merge
from scalpel.part import bind
from scalpel.scope import Scope, ScopeContext
from scalpel.training import trainable_report

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # PEFT's own
IDS = torch.arange(7, 25)[None]
EXPERTS = {**tiny.COMMON, "tie_word_embeddings": False, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
SHAPES: dict[str, dict[str, Any]] = {
    "qwen2_moe": {**EXPERTS, "num_experts": 3, "shared_expert_intermediate_size": 16, "mlp_only_layers": [0]},
    "glm4_moe": {**EXPERTS, "n_routed_experts": 4, "first_k_dense_replace": 1, "n_shared_experts": 1},
    "granitemoeshared": {**EXPERTS, "num_local_experts": 3, "shared_intermediate_size": 16},
    "gpt_oss": {**EXPERTS, "num_local_experts": 3, "sliding_window": 64},
}
SHARED = {"qwen2_moe": "shared_expert", "glm4_moe": "shared_experts"}


@pytest.fixture(autouse=True)
def shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, shape in SHAPES.items():
        monkeypatch.setitem(tiny.SHAPES, kind, shape)


def adapted(scope: Scope) -> set[str]:
    """The modules in the feed-forward parts that have adapters, without their numbers."""
    names = {m.name.split(".lora_")[0].replace(".base_layer", "") for m in scope.trainables}
    return {".".join(name.split(".")[4:]) for name in names if ".self_attn" not in name}


@pytest.mark.parametrize("kind", sorted(SHARED))
@pytest.mark.parametrize("targets", [["gate_proj", "up_proj", "down_proj"], "all-linear", ["up_proj"]])
def test_a_name_means_experts_dense_layers_and_shared_experts_and_in_peft_too(
    kind: str, targets: Any, tmp_path: Path
) -> None:
    base = tiny.folder(tmp_path / "base", kind)
    model, _ = models.load(base)
    scope = bind("scope", "lora", rank=2, targets=targets)(model, ScopeContext(3, partial(adapt, model)))
    parts = ["up_proj"] if targets == ["up_proj"] else ["gate_proj", "up_proj", "down_proj"]
    assert adapted(scope) == {"experts", *parts, *(f"{SHARED[kind]}.{part}" for part in parts)}
    with torch.no_grad():
        for k, m in enumerate(scope.trainables):
            m.value.normal_(std=0.1, generator=torch.Generator().manual_seed(k))
        expected = model(IDS).logits
        assert scope.export is not None
        scope.export(tmp_path / "adapter")
        loaded = PeftModel.from_pretrained(models.load(base)[0], str(tmp_path / "adapter")).eval()
        torch.testing.assert_close(loaded(IDS).logits, expected)
        merged, _ = models.load(merge(tmp_path / "adapter", tmp_path / "merged"))
        torch.testing.assert_close(merged(IDS).logits, expected, atol=1e-5, rtol=1e-5)
        scope.fold()
        torch.testing.assert_close(model(IDS).logits, expected, atol=1e-5, rtol=1e-5)


def test_the_shared_part_of_granite_has_components() -> None:
    model = tiny.model("granitemoeshared")
    scope = bind("scope", "lora", targets=["gate", "down"])(model, ScopeContext(3, partial(adapt, model)))
    names = {m.name.split(".lora_")[0].split("layers.")[1][2:] for m in scope.trainables}
    assert names >= {"shared_mlp.input_linear", "shared_mlp.output_linear", "block_sparse_moe.experts"}


def test_shares_of_experts_and_others_are_said_before_the_first_step() -> None:
    model = tiny.model("glm4_moe")
    scope = bind("scope", "lora")(model, ScopeContext(3, partial(adapt, model)))
    words = trainable_report.plan(scope.trainables, model)
    plain = tiny.model("glm4_moe")
    sizes = {name: p.numel() for name, p in plain.named_parameters()}
    experts = sum(n for name, n in sizes.items() if "experts" in name.split("."))
    assert f"own parameters: experts {experts / sum(sizes.values()):.0%}, others " in words
    assert "no expert is trainable" not in words


def test_what_stays_frozen_for_dropout_is_said_with_its_share(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny.model("glm4_moe")
    scope = bind("scope", "lora", dropout=0.1)(model, ScopeContext(3, partial(adapt, model)))
    assert not adapted(scope)
    assert "experts of this model stay frozen, and with them dense layers" in caplog.text and "%)" in caplog.text


@pytest.mark.parametrize("kind", ["glm4_moe", "gpt_oss"])
def test_lift_moves_principal_weights_of_every_expert(kind: str) -> None:
    model = tiny.model(kind)
    scope = bind("scope", "lift", share=0.1)(model, ScopeContext(3, partial(adapt, model)))
    found = {m.name: m for m in scope.trainables}
    experts = [n for n, p in model.named_parameters() if p.dim() == 3 and "experts" in n.split(".")]
    assert experts and set(experts) <= set(found) and not any(name.endswith("bias") for name in found)
    for name in experts:
        index, weight = found[name].index, found[name].weight
        assert index is not None and torch.equal(index, index.unique())
        each = torch.bincount(index // weight[0].numel(), minlength=len(weight))
        assert (each == int(0.1 * weight[0].numel())).all()


def test_packed_experts_of_gpt_oss_are_multiplied_out_as_the_format_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = tiny.folder(tmp_path / "base", "gpt_oss", hidden_size=32)
    held, packed = load_file(base / "model.safetensors"), {}
    draw = torch.Generator().manual_seed(0)
    for name in [name for name in held if name.endswith(("gate_up_proj", "down_proj"))]:
        e, i, o = held.pop(name).shape
        packed[f"{name}_blocks"] = torch.randint(0, 256, (e, o, i // 32, 16), dtype=torch.uint8, generator=draw)
        packed[f"{name}_scales"] = torch.randint(118, 124, (e, o, i // 32), dtype=torch.uint8, generator=draw)
    save_file(held | packed, base / "model.safetensors", metadata={"format": "pt"})
    said = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(said | {"quantization_config": {"quant_method": "mxfp4"}}))
    model, tokens = models.load(base)
    half = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    values = torch.cat([half, -half])
    for name in {name.rpartition("_")[0] for name in packed}:
        blocks, scales = packed[f"{name}_blocks"].long(), packed[f"{name}_scales"].float() - 127
        pairs = torch.stack([values[blocks & 15], values[blocks >> 4]], -1).flatten(-2)
        expected = (pairs * torch.exp2(scales)[..., None]).flatten(-2).transpose(1, 2)
        torch.testing.assert_close(model.get_parameter(name).float(), expected, atol=0, rtol=0)
    assert "quantised (mxfp4)" in caplog.text and "MB of memory in float32" in caplog.text
    saved = models.save(model, tokens, tmp_path / "saved")
    assert "quantization_config" not in json.loads((saved / "config.json").read_text())
