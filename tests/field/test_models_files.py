"""Model folders that are damaged, lie or are quantised: said in words, with the file and the cause."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from scalpel.models import load, save
from scalpel.models.quantised import refusal

Damage = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.folder(tmp_path / "model", tie_word_embeddings=False)


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(folder: Path) -> None:
        found = load_file(folder / "model.safetensors")
        change(found)
        save_file(found, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def config(**changes: object) -> Damage:
    def damage(folder: Path) -> None:
        said = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(said))

    return damage


def cut(name: str, size: int = -1) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[: size if size >= 0 else -40])


def put(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text)


def spoil(value: float) -> Damage:
    return tensors(lambda t: t["model.layers.0.mlp.up_proj.weight"][0, :2].fill_(value))


UP = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut("model.safetensors"), r"model.safetensors can't be read as safetensors .*bytes\): copy"),
        (cut("model.safetensors", 0), "model.safetensors can't be read as safetensors .it is empty"),
        (put("model.safetensors", "version https://git-lfs.github.com/spec/v1\n" * 9), "Git LFS pointer"),
        (put("model.safetensors", "x" * 900), "model.safetensors can't be read as safetensors"),
        (cut("tokenizer.json"), r"tokenizer.json, line \d+ is no JSON"),
        (put("tokenizer.json", '{"model": 3}'), "its tokenizer can't be used"),
        (put("tokenizer_config.json", ""), "tokenizer_config.json, line 1 is no JSON .it is empty"),
        (put("config.json", "{'a': 1}"), r"config.json, line 1 is no JSON"),
        (put("config.json", "[]"), "config.json holds list in place of an object"),
        (config(hidden_size="wide"), "its (config.json|weights) can't be used"),
        (config(model_type="nobody-s"), "its config.json can't be used"),
        (
            config(hidden_size=24),
            r"tensors don't match config.json: .*16 in the file, .*24 in the mod",
        ),
        (
            tensors(lambda t: t.pop(UP)),
            f"1 tensors of the model are missing in its files: {UP}; they would be initialised at random",
        ),
        (tensors(lambda t: t.pop("lm_head.weight")), "lm_head.weight; .*tie_word_embeddings = true"),
        (tensors(lambda t: t.update(odd=torch.ones(2))), "1 tensors in the files belong to no module .*: odd"),
        (tensors(lambda t: t.update({UP: torch.ones(3, 16)})), f"{UP} is 3×16 in the file, 32×16 in the model"),
        (
            config(tie_word_embeddings=True),
            "ties embedding and head .* two different matrices: set tie_word_embeddings to false",
        ),
        (config(num_hidden_layers=3), "9 tensors of the model are missing in its files: model.layers.2"),
        (config(num_hidden_layers=1), "9 tensors in the files belong to no module"),
        (
            spoil(float("nan")),
            r"1 tensors have NaN or infinite weights: model.layers.0.mlp.up_proj.weight \(2 of 512\)",
        ),
        (spoil(float("inf")), r"NaN or infinite weights"),
    ],
)
def test_damage_is_said_with_the_file_and_the_cause(folder: Path, damage: Damage, words: str) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=words) as said:
        load(folder)
    assert str(folder) in str(said.value) and len(str(said.value)) < 700


def shards(at: Path) -> Path:
    tiny.model().save_pretrained(at, max_shard_size="8KB")
    tiny.tokenizer().save_pretrained(at)
    return at


def index(change: Callable[[dict[str, str]], object]) -> Damage:
    def damage(folder: Path) -> None:
        file = folder / "model.safetensors.index.json"
        said = json.loads(file.read_text())
        change(said["weight_map"])
        file.write_text(json.dumps(said))

    return damage


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: next(f.glob("*-00002-*")).unlink(), "names the shard model-00002-of-0.*, which isn't there"),
        (lambda f: cut(next(f.glob("*-00002-*")).name)(f), "model-00002-of-.*can't be read as safetensors"),
        (put("model.safetensors.index.json", "{"), "index.json, line 1 is no JSON"),
        (put("model.safetensors.index.json", "{}"), "has no weight_map"),
        (index(lambda m: m.update(odd=next(iter(m.values())))), "lacks 1 of the tensors that .* says it holds, odd"),
        (index(lambda m: m.update({k: "../" + v for k, v in m.items()})), "which isn't there"),
    ],
)
def test_torn_shards_are_said(tmp_path: Path, damage: Damage, words: str) -> None:
    folder = shards(tmp_path / "model")
    load(folder)
    damage(folder)
    with pytest.raises(ValueError, match=words):
        load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}),
        lambda t: [t.update({k.removeprefix("model."): t.pop(k)}) for k in list(t) if k.startswith("model.")],
    ],
    ids=["a buffer of older versions", "without the prefix of the base model"],
)
def test_what_other_versions_wrote_is_opened(folder: Path, change: Callable[[dict], object]) -> None:
    tensors(change)(folder)
    expected = tiny.model(tie_word_embeddings=False).state_dict()
    assert all(torch.equal(x, expected[name]) for name, x in load(folder)[0].state_dict().items())


def test_a_tied_model_that_holds_its_head_as_well_is_opened_if_both_are_equal(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "model")
    tensors(lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}))(folder)
    model, _ = load(folder)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_tokens_without_an_embedding_are_named_with_ways_out(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"ids up to 262, but the model has 260 embeddings, so 3 tokens.*resize_token_"
    ):
        load(tiny.folder(tmp_path / "short", vocab_size=260))


CLAIMS = [
    {"quant_method": "bitsandbytes", "load_in_4bit": True},
    {"quant_method": "gptq", "bits": 4},
    {"quant_method": "fp8"},
    {"quant_method": "ternary-dreams"},
]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["quant_method"])
def test_plain_weights_under_a_config_that_claims_quantisation_are_opened_and_saved_plain(
    folder: Path, claim: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    config(quantization_config=claim)(folder)
    model, tokens = load(folder)
    assert any("its config says that the weights are quantised" in r.message for r in caplog.records)
    save(model, tokens, folder.parent / "again")
    assert "quantization_config" not in json.loads((folder.parent / "again" / "config.json").read_text())


@pytest.mark.parametrize(
    ("method", "words"), [("gptq", "gptqmodel"), ("ternary-dreams", "doesn't know that method"), ("awq", "unquantised")]
)
def test_weights_that_are_quantised_otherwise_are_refused_by_name(folder: Path, method: str, words: str) -> None:
    config(quantization_config={"quant_method": method, "bits": 4})(folder)
    tensors(lambda t: t.update({UP.replace("weight", "qweight"): torch.ones(2, 2, dtype=torch.int32)}))(folder)
    with pytest.raises(ValueError, match=f"quantised with {method}.*{words}.*quantization_config"):
        load(folder)
    assert "pip install bitsandbytes" in refusal("bitsandbytes", folder)


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_weights_of_bitsandbytes_are_multiplied_out_and_saved_plain(
    tmp_path: Path, bits: int, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    folder = tiny.folder(tmp_path / "plain", hidden_size=64, head_dim=32, tie_word_embeddings=False)
    how = BitsAndBytesConfig(**{f"load_in_{bits}bit": True})
    small = AutoModelForCausalLM.from_pretrained(folder, quantization_config=how, dtype=torch.float32)
    small.save_pretrained(tmp_path / "small")
    tiny.tokenizer().save_pretrained(tmp_path / "small")
    model, tokens = load(tmp_path / "small")
    assert any("they are dequantised on loading" in r.message for r in caplog.records if r.levelno == logging.WARNING)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    ids = torch.arange(7, 25)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, small(ids).logits, atol=1e-5 if bits == 4 else 5e-3, rtol=0)
    save(model, tokens, tmp_path / "saved")
    said = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert (
        "quantization_config" not in said
        and load_file(tmp_path / "saved" / "model.safetensors")[UP].dtype.is_floating_point
    )
