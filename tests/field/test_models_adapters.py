"""An adapter folder is a model: it opens, is measured and compared, and can be written as a plain folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import tiny
from command_line import Place
from scalpel import api, models

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # PEFT's own
IDS = torch.arange(7, 25)[None]


def adapter(at: Path, said: str = "base", kind: str = "llama", rows: int = 0, **options: Any) -> torch.Tensor:
    """PEFT's own folder of a random adapter beside the folder of its base; gives the logits that it should have."""
    model = tiny.model(kind, tie_word_embeddings=False)
    if rows:
        model.resize_token_embeddings(rows, mean_resizing=False)
    wrapped = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, **{"target_modules": ["q_proj"], **options}))
    with torch.no_grad():
        for k, (name, p) in enumerate(wrapped.named_parameters()):
            if p.requires_grad or (rows and "embed" in name):
                p.normal_(std=0.1, generator=torch.Generator().manual_seed(k))
    wrapped.peft_config["default"].base_model_name_or_path = said
    wrapped.save_pretrained(str(at), save_embedding_layers=bool(rows))
    with torch.no_grad():
        return wrapped.eval()(IDS).logits


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.folder(tmp_path / "base", tie_word_embeddings=False)
    return tmp_path


def logits(spec: str | Path) -> torch.Tensor:
    with torch.no_grad():
        return models.load(spec)[0](IDS).logits


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ("base", {}),
        ("../base", {"target_modules": "all-linear"}),
        ("base", {"modules_to_save": ["lm_head"]}),
        ("base", {"rows": 271}),
        ("base", {"use_dora": True}),
    ],
    ids=["under the working directory", "beside it", "with a head of its own", "with more tokens", "dora"],
)
def test_an_adapter_opens_as_its_base_with_the_adapter_in_it(place: Path, said: str, options: dict[str, Any]) -> None:
    expected = adapter(place / "adapter", said, **options)
    model, _ = models.load("adapter")
    with torch.no_grad():
        torch.testing.assert_close(model(IDS).logits, expected, atol=1e-5, rtol=0)
    assert not any("lora" in name for name, _ in model.named_modules())
    assert not hasattr(model, "peft_config") and (options or not torch.allclose(expected, logits("base"), atol=1e-4))


def test_merge_writes_a_plain_folder_with_the_tokenizer_and_touches_nothing_that_is_there(place: Path) -> None:
    expected = adapter(place / "adapter")
    assert api.merge("adapter") == Path("adapter-merged")
    torch.testing.assert_close(logits("adapter-merged"), expected, atol=1e-5, rtol=0)
    held = {p.name for p in (place / "adapter-merged").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= held and "adapter_config.json" not in held
    with pytest.raises(ValueError, match="adapter-merged is there already"):
        api.merge("adapter")
    with pytest.raises(ValueError, match="base is no adapter, it holds a plain model already"):
        api.merge("base")
    adapter(place / "second", "adapter")  # an adapter on an adapter
    assert api.merge("second", out="both").name == "both"


def test_diff_generate_and_the_command_take_an_adapter(place: Path) -> None:
    adapter(place / "adapter")
    table = api.diff("base", "adapter")
    moved = {c for c, row in zip(table["components"], table["moved"], strict=True) if any(row)}
    assert moved == {"q"}
    run = Place(place)
    assert run("generate", "adapter", "hello", "--plain", "--max-tokens", 2).code == 0
    ran = run("merge", "adapter", "--out", "plain")
    assert ran.code == 0 and "plain" in ran.out and (place / "plain" / "config.json").exists()
    assert "is no adapter" in run.refused("merge", "plain")


def change(folder: Path, do: Any) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    do(tensors)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def said(folder: Path, **over: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | over))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda f: said(f, base_model_name_or_path="nowhere/at-all/here"),
            "the base model of the adapter adapter can't be loaded",
        ),
        (lambda f: said(f, base_model_name_or_path=None), "doesn't name its base model"),
        (lambda f: adapter(f.parent / "other", "adapter") is said(f, base_model_name_or_path="other"), "each other"),
        (lambda f: said(f, base_model_name_or_path="."), "names the adapter itself as its base"),
        (
            lambda f: change(f, lambda t: t.pop(next(iter(t)))),
            "1 tensors are not in adapter_model.safetensors: .*lora_",
        ),
        (lambda f: change(f, lambda t: t.update(odd=torch.ones(2))), "1 tensors fit no module of the base: .*odd"),
        (lambda f: change(f, lambda t: next(iter(t.values())).fill_(float("nan"))), "NaN or infinite"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"12"), "can't be read as safetensors"),
        (lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"), "only pickled weights"),
        (lambda f: (f / "adapter_config.json").write_text("{"), "adapter_config.json, line 1 is no JSON"),
        (lambda f: said(f, peft_type="PROMPT_TUNING", num_virtual_tokens=2), "can't be (merged|read)"),
        (lambda f: said(f, peft_type="WHATEVER"), "can't be read by PEFT"),
        (lambda f: said(f, target_modules=["nothing_proj"]), "doesn't fit its base"),
        (
            lambda f: tiny.folder(f.parent / "base", hidden_size=24),
            "doesn't fit its base base: .*(size mismatch|shape)",
        ),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_in_words(place: Path, damage: Any, words: str) -> None:
    adapter(place / "adapter")
    damage(place / "adapter")
    with pytest.raises(ValueError, match=words):
        models.load("adapter")


def test_a_folder_with_a_model_and_an_adapter_is_refused(place: Path) -> None:
    adapter(place / "adapter")
    shutil.copytree(place / "base", place / "both")
    shutil.copy(place / "adapter" / "adapter_config.json", place / "both")
    with pytest.raises(ValueError, match="a whole model and an adapter"):
        models.load(place / "both")


def test_a_hub_id_that_holds_an_adapter_alone_is_its_base_with_the_adapter_in_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = adapter(place / "adapter", said=str((place / "base").resolve()))
    repository = place / "cache" / "models--someone--adapter"
    shutil.copytree(place / "adapter", repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(place / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert torch.allclose(logits("someone/adapter"), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")  # PEFT warns of what it writes here
@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_an_adapter_on_one_of_two_ends_that_share_a_matrix_leaves_the_other(
    target: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny.folder(tmp_path / "base")
    wrapped = get_peft_model(tiny.model(), LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", target]))
    for p in wrapped.parameters():
        p.data.add_(0.1) if p.requires_grad else None
    wrapped.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    wrapped.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    with caplog.at_level("INFO", "scalpel"), torch.no_grad():
        right = wrapped.eval()(IDS).logits
        assert torch.allclose(logits(tmp_path / "adapter"), right, atol=1e-5)
        assert torch.allclose(logits(models.merge(tmp_path / "adapter")), right, atol=1e-5)
    assert "they are untied" in caplog.text


def test_an_embedding_that_was_resized_and_trained_is_read_though_it_is_saved_twice(tmp_path: Path) -> None:
    tiny.folder(tmp_path / "base", tie_word_embeddings=False)
    right = adapter(tmp_path / "adapter", str(tmp_path / "base"), rows=268, modules_to_save=["embed_tokens", "lm_head"])
    assert any(".modules_to_save." in name for name in load_file(tmp_path / "adapter" / "adapter_model.safetensors"))
    assert torch.allclose(logits(tmp_path / "adapter"), right, atol=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")  # PEFT warns of what it writes here
def test_an_adapter_that_cannot_be_folded_is_refused_in_words(tmp_path: Path) -> None:
    tiny.folder(tmp_path / "base", tie_word_embeddings=False)
    adapter(tmp_path / "adapter", str(tmp_path / "base"), lora_bias=True)
    with pytest.raises(ValueError, match="can't be merged into weights.*lora_bias"):
        models.load(tmp_path / "adapter")
