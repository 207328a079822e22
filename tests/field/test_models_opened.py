"""Folders as they are met: parts of larger models, odd stops, files that are missing, heads that are left out."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

import tiny
from scalpel.engine import Engine, Sampling
from scalpel.models import load, save

IDS = torch.arange(10, 30)[None]
TEXT = dict(tiny.COMMON, vocab_size=263, eos_token_id=3, pad_token_id=0, bos_token_id=2)
SEEING = dict(hidden_size=16, intermediate_size=16, image_size=28, patch_size=14, num_attention_heads=2)
WHOLE = {
    "Mistral3ForConditionalGeneration": dict(
        model_type="mistral3",
        text_config=dict(TEXT, model_type="mistral", tie_word_embeddings=False),
        vision_config=dict(SEEING, model_type="pixtral", num_hidden_layers=1),
        tie_word_embeddings=False,
    ),
    "Qwen3_5ForConditionalGeneration": dict(
        model_type="qwen3_5",
        tie_word_embeddings=True,
        text_config=dict(TEXT, layer_types=["full_attention"] * 2),
        vision_config=dict(
            depth=1, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=16, patch_size=4
        ),
    ),
    "Llama4ForConditionalGeneration": dict(
        model_type="llama4",
        text_config=dict(TEXT, tie_word_embeddings=False, num_local_experts=2, intermediate_size_mlp=32),
        vision_config=dict(
            SEEING, num_hidden_layers=1, vision_output_dim=16, projector_input_dim=16, projector_output_dim=16
        ),
    ),
}


def edited(folder: Path, file: str, **changes: object) -> Path:
    said = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps(said))
    return folder


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_the_text_model_of_one_that_sees_is_opened_and_said(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = dict(WHOLE[name])
    with torch.random.fork_rng():
        whole = getattr(transformers, name)(AutoConfig.for_model(options.pop("model_type"), **options)).eval()
    whole.save_pretrained(tmp_path / "whole")
    tiny.tokenizer().save_pretrained(tmp_path / "whole")
    with caplog.at_level("INFO", "scalpel"), torch.no_grad():
        model, tokens = load(tmp_path / "whole")
        assert torch.allclose(model(IDS).logits, whole(input_ids=IDS).logits, atol=1e-6)
        assert Engine(model, tokens).sample([IDS[0].tolist()], Sampling(max_tokens=2), seed=0)
    assert "its text model" in caplog.text
    save(model, tokens, tmp_path / "saved")


def test_heads_that_the_class_leaves_out_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shape = dict(n_routed_experts=2, num_experts_per_tok=1, moe_intermediate_size=16, first_k_dense_replace=1)
    tiny.SHAPES.setdefault("glm4_moe", dict(tiny.COMMON, tie_word_embeddings=False, **shape))
    folder = tiny.folder(tmp_path, "glm4_moe")
    held = load_file(folder / "model.safetensors") | {"model.layers.46.eh_proj.weight": torch.ones(2, 2)}
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    with caplog.at_level("INFO", "scalpel"):
        load(folder)
    assert "1 tensors of its files are not used by Glm4MoeForCausalLM" in caplog.text


@pytest.mark.parametrize("given", [[3, 99999], -1, [-1, 3]])
def test_stops_that_the_model_cannot_write_are_left_out_and_said(
    given: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = edited(tiny.folder(tmp_path), "generation_config.json", eos_token_id=given)
    with caplog.at_level("WARNING", "scalpel"):
        _, tokens = load(folder)
    assert "ignored" in caplog.text and tokens.stop_ids == {3, 5}


@pytest.mark.parametrize("given", [["3"], [[3]], 3.0, True])
def test_stops_that_are_no_numbers_are_refused(given: object, tmp_path: Path) -> None:
    folder = edited(tiny.folder(tmp_path), "generation_config.json", eos_token_id=given)
    with pytest.raises(ValueError, match="eos_token_id in its generation_config.json is"):
        load(folder)


def test_shards_without_their_index_are_refused_with_both_names(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(ValueError, match=r"no model.safetensors.index.json .*model-00001-of-00002"):
        load(folder)
