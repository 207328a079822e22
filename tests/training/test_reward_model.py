"""A reward model from its pairs to the rewards of another run, opened by transformers in between."""

import json

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
)

import tiny
from running import records, tables
from scalpel import models
from scalpel.data.example import Example
from scalpel.experiments.preflight import refuse_recipe
from scalpel.experiments.single import run_recipe
from scalpel.models.scorer import open_scorer
from scalpel.rewards import Rewards
from scalpel.training.run import TrainingRun

ASKED = ({"role": "user", "content": "ab"},)
SAID = ["c", "dddd", ""]


@pytest.fixture(scope="module")
def folder(at, tmp_path_factory):
    """What a run of the row with an adapter leaves."""
    run = tmp_path_factory.mktemp("run") / "reward-model"
    run_recipe(tables(at, {"method": "reward-model", "steps": 8, "scope": {"name": "lora", "rank": 2}}), run)
    return run / "model"


def by_transformers(folder, texts, **changes) -> list[float]:
    """Each conversation alone, as anybody would score it."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for text in texts:
        said = [*ASKED, {"role": "assistant", "content": text}]
        with torch.no_grad():
            found.append(
                float(model(**tokenizer.apply_chat_template(said, return_tensors="pt", return_dict=True)).logits)
            )
    return found


def test_the_run_learns_and_leaves_a_classifier(folder):
    steps = [r for r in records(folder.parent) if r["kind"] == "train"]
    assert all({"accuracy", "margin", "score"} <= r.keys() for r in steps)
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["LlamaForSequenceClassification"]
    assert json.loads((folder / "owned.json").read_text())["scores"] == "score"
    again, _ = models.load(folder)
    assert type(again).__name__ == "LlamaForCausalLM"


def test_a_run_that_starts_from_a_reward_model_goes_on_with_its_score(at, folder):
    run = TrainingRun(tables(at, {"method": "reward-model"}, model={"path": str(folder), "device": "cpu"}))
    run.enter(0)
    assert torch.equal(run.engine.owned["score"].weight, models.read_owned(folder)["score"]["weight"])


def test_the_reward_is_the_score_that_transformers_gives_alone_and_in_batches(folder):
    examples = [Example(ASKED, id=str(k)) for k in range(3)]
    for batch in (1, 16):
        rewards = Rewards([{"name": "model", "path": str(folder), "batch": batch, "device": "cpu"}])
        found = rewards(examples, SAID, [[1]] * 3).reward_SK[:, 0]
        torch.testing.assert_close(found, torch.tensor(by_transformers(folder, SAID)), rtol=0, atol=1e-5)
    halved = Rewards([{"name": "model", "path": str(folder), "weight": 0.5}])(examples, SAID, [[1]] * 3)
    torch.testing.assert_close(halved.reward_S, found / 2, rtol=0, atol=1e-5)


def test_of_longer_texts_the_end_is_read_and_it_is_said_once(folder, caplog):
    scorer = open_scorer(str(folder), max_length=16, device="cpu")
    whole = scorer.row(ASKED, "dddd")
    with torch.no_grad():
        end = float(scorer.model(torch.tensor([whole[-16:]])).logits)
    assert scorer([ASKED] * 2, ["dddd", "c"])[0] == pytest.approx(end, abs=1e-5)
    scorer([ASKED], ["dddd"])
    assert caplog.text.count("2 of 2 texts are longer than 16 tokens and truncated at the beginning") == 1


def labelled(at, folder, **changes):
    """A classifier with several labels."""
    config = tiny.model().config
    config.num_labels, config.id2label, config.label2id = 2, {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def test_of_several_labels_one_is_named(at, tmp_path):
    place = str(labelled(at, tmp_path / "two"))
    with pytest.raises(ValueError, match=r"has 2 labels \(0 = 'bad', 1 = 'good'\): set which .* label = 1"):
        open_scorer(place)
    with pytest.raises(ValueError, match=r"has no label 'fine': it has 0 = 'bad', 1 = 'good'"):
        open_scorer(place, "fine")
    assert open_scorer(place, "good", device="cpu")([ASKED], ["c"]) == open_scorer(place, 1, device="cpu")(
        [ASKED], ["c"]
    )


def encoder(folder):
    """A tiny BERT with one score, which it reads at [CLS]."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "##b"]
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(words), max_position_embeddings=12, num_labels=1, initializer_range=0.5, **sizes)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_an_encoder_scores_as_transformers_does_and_keeps_its_first_token_where_a_text_is_cut(tmp_path, caplog):
    place = encoder(tmp_path / "bert")
    model = AutoModelForSequenceClassification.from_pretrained(place).eval()
    tokenizer = BertTokenizerFast.from_pretrained(place)
    asked, said = ["ab c ", "d ", "a " * 9], ["e", "f g", "b c d e"]
    with torch.no_grad():
        alone = [float(model(**tokenizer(text, return_tensors="pt")).logits) for text in ("ab c e", "d f g")]
        # [CLS], the last ten of thirteen words and [SEP]
        cut = float(model(**tokenizer("a " * 6 + said[2], return_tensors="pt")).logits)
    rewards = Rewards([{"name": "model", "path": str(place), "device": "cpu"}])
    found = rewards([Example(p) for p in asked], said, [[1]] * 3).reward_SK[:, 0]
    torch.testing.assert_close(found, torch.tensor([*alone, cut]), rtol=0, atol=1e-5)
    assert "1 of 3 texts are longer than 12 tokens" in caplog.text
    with pytest.raises(ValueError, match="the prompts are chat messages, but .* is an encoder, which reads text"):
        rewards([Example(ASKED)], ["c"], [[1]])


def test_what_is_no_reward_model_is_refused_before_any_model_is_opened(at, folder, monkeypatch):
    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", lambda *a, **k: 1 / 0)
    stage = {"method": "grpo"}

    def refused(table: dict, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            refuse_recipe(tables(at, stage, data={"rewards": [table]}))

    refused(
        {"name": "model", "path": str(at / "llama")}, r"LlamaForCausalLM, not a sequence classifier, .*'reward-model'"
    )
    refused({"name": "model"}, r"has no 'path'")
    refused({"name": "model", "path": str(folder), "labels": 1}, r"labels")
    refused({"name": "model", "path": str(folder), "early": True}, r"can't be computed early")
    refuse_recipe(tables(at, stage, data={"rewards": [{"name": "model", "path": str(folder)}]}))


def test_a_policy_learns_from_a_reward_model(at, folder, tmp_path):
    stage = {"method": "grpo", "steps": 2}
    made = tables(at, stage, data={"rewards": [{"name": "model", "path": str(folder), "device": "cpu"}]})
    run_recipe(made, tmp_path / "grpo")
    steps = [r for r in records(tmp_path / "grpo") if r["kind"] == "train"]
    assert len(steps) == 2 and all(r["rewards/model/std"] > 0 and r["gradient_norm"] > 0 for r in steps)
    read = json.loads((tmp_path / "grpo" / "inputs.json").read_text())["files"]
    assert any(path.startswith(str(folder)) and entry["of"] == "a reward model" for path, entry in read.items())
