"""Our LoRA beside PEFT's own: the same forward pass, gradients, merged weights and files."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

import tiny
from scalpel.models.adapters import adapt
from scalpel.part import bind
from scalpel.scope import Scope, ScopeContext

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # PEFT's own
IDS = torch.arange(7, 25).view(2, 9)
KINDS = pytest.mark.parametrize("kind", ["llama", "gpt2"])
HOW = pytest.mark.parametrize("how", [{}, {"rank_stabilised": True}, {"magnitude": True}], ids=["plain", "rs", "dora"])


def ours(kind: str, **hyper: Any) -> tuple[PreTrainedModel, Scope]:
    model = tiny.model(kind)
    scope = bind("scope", "lora", rank=4, alpha=6.0, **hyper)(model, ScopeContext(3, partial(adapt, model)))
    with torch.no_grad():
        for k, m in enumerate(scope.trainables):
            if "lora_B" in m.name:
                m.value.normal_(generator=torch.Generator().manual_seed(k))
    return model, scope


def theirs(kind: str, model: PreTrainedModel, how: dict[str, bool]) -> Any:
    """PEFT's own model with the values of ours."""
    targets = ["c_attn", "c_proj", "c_fc"] if kind == "gpt2" else "all-linear"
    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=targets, fan_in_fan_out=kind == "gpt2",
        use_rslora="rank_stabilised" in how, use_dora="magnitude" in how,
    )  # fmt: skip
    wrapped: Any = get_peft_model(tiny.model(kind), config)
    values = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in wrapped.base_model.model.named_parameters():
            parameter.copy_(values[name])
    return wrapped


@KINDS
@HOW
def test_forward_and_gradients_are_peft_s(kind: str, how: dict[str, bool]) -> None:
    model, scope = ours(kind, **how)
    wrapped = theirs(kind, model, how)
    expected = wrapped(IDS, labels=IDS)
    found = model(IDS, labels=IDS)
    torch.testing.assert_close(found.logits, expected.logits)
    expected.loss.backward()
    found.loss.backward()
    gradients = {n: p.grad for n, p in wrapped.base_model.model.named_parameters() if p.requires_grad}
    assert gradients.keys() == {m.name for m in scope.trainables}
    for m in scope.trainables:
        torch.testing.assert_close(m.value.grad, gradients[m.name])


@KINDS
@HOW
def test_folded_weights_are_peft_s_merged_ones(kind: str, how: dict[str, bool]) -> None:
    model, scope = ours(kind, **how)
    merged = theirs(kind, model, how).merge_and_unload().state_dict()
    scope.fold()
    found = model.state_dict()
    assert found.keys() == merged.keys()
    for name, weight in found.items():
        torch.testing.assert_close(weight, merged[name])
    assert any(not torch.equal(found[name], x) for name, x in tiny.model(kind).state_dict().items())


@KINDS
@HOW
def test_exported_adapters_load_in_peft_and_say_the_same(kind: str, how: dict[str, bool], tmp_path: Path) -> None:
    model, scope = ours(kind, **how)
    assert scope.export is not None
    scope.export(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    loaded = PeftModel.from_pretrained(tiny.model(kind), str(tmp_path)).eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(IDS).logits, model(IDS).logits)
        assert not torch.allclose(model(IDS).logits, tiny.model(kind)(IDS).logits, atol=1e-2)
