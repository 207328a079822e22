"""Reward models beside transformers and TRL: the same scores, the same loss and the same gradients, and a folder that
`AutoModelForSequenceClassification` opens."""

from dataclasses import replace
from math import exp, log
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import material
import tiny
from beside_trl import QUIET, stream_of
from scalpel import models
from scalpel.batch import Batch
from scalpel.data.closed import closed
from scalpel.data.example import Example
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine
from scalpel.models.classifier import padded_by, refuse_unclassifiable
from scalpel.models.owned import Owned
from scalpel.objectives.bradley_terry import SCORE, last
from scalpel.part import score_head
from scalpel.training.step import StepMetrics, backward

ASKED = ({"role": "user", "content": "ab"},)
PAIRS = [
    Example(ASKED, chosen="cd", rejected="e", id="0", columns={"margin": 1.0}),
    Example(ASKED, chosen="x", rejected="yzw", id="1", columns={"margin": 0.5}),
]


def scorer(kind: str = "llama", **changes) -> Engine:
    """A policy with a head that scores."""
    engine = Engine(tiny.model(kind, **changes), Tokens(tiny.tokenizer()))
    torch.manual_seed(3)
    engine.owned = torch.nn.ModuleDict({"score": score_head(16)})
    return engine


def pairs(engine: Engine, **objective) -> tuple:
    signal = dict(
        source={"name": "preference-pairs", "train": "last"},
        credit=["constant"],
        objective={"name": "bradley-terry", **objective},
    )
    stream = stream_of(method="reward-model", signals=[signal])
    return stream, stream.source(material.context(engine, PAIRS))


def scores(engine: Engine, batch: Batch) -> torch.Tensor:
    return last(engine.score(batch, needs={SCORE}).terms[SCORE], batch)


def saved(engine: Engine, folder: Path) -> Path:
    owned = Owned({"score": engine.owned["score"]}, {"score": ["objective 'bradley-terry'"]}, "score")
    return models.save(engine.model, engine.tokens, folder, owned)


def test_the_score_is_read_at_the_last_token_of_the_whole_conversation() -> None:
    engine = scorer()
    _, batch = pairs(engine)
    tokenizer = engine.tokens.tokenizer
    for s, text in enumerate(["cd", "e", "x", "yzw"]):
        ids = batch.ids_N[batch.seq_N == s].tolist()
        said = [*ASKED, {"role": "assistant", "content": text}]
        assert ids == tokenizer.apply_chat_template(said, return_dict=False)
        with torch.no_grad():
            state_D = engine.model.base_model(torch.tensor([ids])).last_hidden_state[0, -1]
            by_hand = float(engine.owned["score"].weight[0] @ state_D)
        assert float(scores(engine, batch)[s]) == pytest.approx(by_hand, abs=1e-5)
    assert batch.train_N.sum() == 4 and batch.label_S.tolist() == [1, -1, 1, -1]


def test_what_is_text_ends_with_the_end_token() -> None:
    tokens = Tokens(tiny.tokenizer(None))
    row = closed(tokens, "ab", "c")
    assert row.ids == [*tokens.prompt("ab"), *tokens.prompt("c"), tokens.end_id] and sum(row.train) == 1


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("llama", {}), ("llama", {"tie_word_embeddings": False}), ("qwen2", {}), ("gpt2", {}), ("gemma2", {})],
    ids=["llama", "untied", "qwen2", "gpt2", "gemma2"],
)
def test_the_folder_opens_as_a_sequence_classifier_with_equal_scores(kind, changes, tmp_path: Path) -> None:
    engine = scorer(kind, **changes)
    _, batch = pairs(engine)
    mine = scores(engine, batch)
    folder = saved(engine, tmp_path / "model")
    read = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert read.config.num_labels == 1 and read.config.architectures == [type(read).__name__]
    rows = [batch.ids_N[batch.seq_N == s].tolist() for s in range(batch.S)]
    assert tokenizer.padding_side == "right"
    for side in ["right"] if kind == "gpt2" else ["right", "left"]:  # GPT-2's counts padding as positions
        padded = tokenizer.pad({"input_ids": rows}, return_tensors="pt", padding_side=side)
        with torch.no_grad():
            torch.testing.assert_close(read(**padded).logits[:, 0], mine, rtol=0, atol=1e-5)
    with torch.no_grad():
        alone = torch.cat([read(torch.tensor([row])).logits[0] for row in rows])
    torch.testing.assert_close(alone, mine, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_the_language_model_beneath_is_not_lost(tied: bool, tmp_path: Path) -> None:
    engine = scorer(tie_word_embeddings=tied)
    again, tokens = models.load(saved(engine, tmp_path / "model"))
    ids = torch.tensor([tokens.prompt("abc")])
    with torch.no_grad():
        assert torch.equal(again(ids).logits, engine.model(ids).logits)
    assert tokens.stop_ids == engine.tokens.stop_ids
    assert torch.equal(models.read_owned(tmp_path / "model")["score"]["weight"], engine.owned["score"].weight)


def test_a_text_may_end_with_the_token_that_the_tokenizer_pads_with(tmp_path: Path) -> None:
    engine = scorer()
    engine.tokens = Tokens(tiny.tokenizer(pad_token="</s>"))
    assert padded_by(engine.tokens).pad_token == "<unk>" and engine.tokens.tokenizer.pad_token == "</s>"
    folder = saved(engine, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert AutoModelForSequenceClassification.from_pretrained(folder).config.pad_token_id == tokenizer.pad_token_id == 1


def test_an_architecture_without_a_classifier_is_refused_with_a_way_out() -> None:
    refuse_unclassifiable(tiny.model("gpt2"))
    from transformers import CodeGenConfig, CodeGenForCausalLM

    small = CodeGenForCausalLM(
        CodeGenConfig(vocab_size=300, n_positions=32, n_embd=16, n_layer=1, n_head=2, rotary_dim=4)
    )
    with pytest.raises(ValueError, match=r"transformers has none for CodeGenForCausalLM: use a model of another"):
        refuse_unclassifiable(small)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("margin", ["", "margin"])
@pytest.mark.parametrize(("centre", "pieces"), [(0.0, 1), (0.01, 2)])
def test_loss_and_gradients_are_trl_s(tmp_path: Path, margin: str, centre: float, pieces: int) -> None:
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    engine = scorer()
    stream, batch = pairs(engine, margin=margin, centre=centre)
    theirs = AutoModelForSequenceClassification.from_pretrained(saved(engine, tmp_path / "model"))
    rows = [batch.ids_N[batch.seq_N == s].tolist() for s in range(batch.S)]
    data = datasets.Dataset.from_list([dict(prompt="a", chosen="b", rejected="c")])
    args = trl.RewardConfig(str(tmp_path), center_rewards_coefficient=centre or None, disable_dropout=True, **QUIET)
    trainer = trl.RewardTrainer(theirs, args, train_dataset=data, processing_class=engine.tokens.tokenizer)
    items = [
        dict(chosen_ids=w, rejected_ids=l, **({"margin": e.columns["margin"]} if margin else {}))
        for w, l, e in zip(rows[::2], rows[1::2], PAIRS, strict=True)
    ]
    found = trainer.compute_loss(trainer.model, trainer.data_collator(items))
    found.backward()
    loss = backward(engine, stream, batch, 0.0, pieces, StepMetrics())
    assert loss == pytest.approx(float(found), rel=1e-5)
    mine = {n: p.grad for n, p in engine.model.named_parameters() if p.grad is not None}
    mine["score.weight"] = engine.owned["score"].weight.grad
    named = {n: p.grad for n, p in trainer.model.named_parameters()}
    assert float(mine["score.weight"].abs().max()) > 1e-3
    for name, gradient in mine.items():
        torch.testing.assert_close(gradient, named[name], rtol=1e-4, atol=1e-6)


def test_the_loss_is_that_of_the_scores_by_hand() -> None:
    engine = scorer()
    stream, batch = pairs(engine)
    a, b, c, d = scores(engine, batch).tolist()
    by_hand = (log(1 + exp(b - a)) + log(1 + exp(d - c))) / 2
    assert backward(engine, stream, batch, 0.0, 1, StepMetrics()) == pytest.approx(by_hand, rel=1e-5)


def test_a_margin_that_is_no_number_is_refused() -> None:
    engine = scorer()
    stream, batch = pairs(engine, margin="margin")
    odd = replace(batch, columns=tuple({"margin": "much"} for _ in batch.columns))
    with pytest.raises(ValueError, match=r"column 'margin', but a row has 'much' there: give every pair a number"):
        backward(engine, stream, odd, 0.0, 1, StepMetrics())


def test_both_of_a_head_s_places_can_be_read_in_one_pass() -> None:
    """The states before and at a token lie side by side, packed with shared beginnings and in padded rows."""
    from scalpel.part import OwnedHead

    before = OwnedHead("score")
    found = []
    for kind in ("llama", "gemma2"):  # the second runs in padded rows
        engine = scorer(kind)
        batch = engine.tokens and pairs(engine)[1]
        out = engine.score(
            replace(batch, train_N=batch.seq_N.diff(prepend=batch.seq_N[:1] - 1) == 0), needs={SCORE, before}
        )
        same_N = (batch.seq_N[1:] == batch.seq_N[:-1]).nonzero()[:, 0]
        inner_n = same_N[batch.seq_N.bincount().cumsum(0)[batch.seq_N[same_N]] - 1 != same_N]
        trained_n = inner_n[batch.seq_N.diff(prepend=batch.seq_N[:1] - 1)[inner_n] == 0]
        torch.testing.assert_close(out.terms[SCORE][trained_n], out.terms[before][trained_n + 1], rtol=0, atol=1e-5)
        found.append(len(trained_n))
    assert min(found) > 20
