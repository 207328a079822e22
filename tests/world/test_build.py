"""Building a model of the world: the sizes as stated, the same weights for the same seed, an honest card."""

import json

import pytest
import torch

from scalpel import models
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine
from scalpel.pretraining import card as cards
from scalpel.pretraining.build import (
    WorldTokens,
    build,
    pretrain,
    pretraining,
)
from scalpel.registry import lookup
from scalpel.world.corpus import Documents
from scalpel.world.shape import SIZES, untrained
from scalpel.world.vocabulary import IDS, tokenizer


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("world") / "small"
    build(out, "world-300k", steps=4, batch=8, device="cpu", threads=1, items=3)
    return out


@pytest.mark.parametrize("size, parameters", [("world-1m", 1_000_000), ("world-300k", 300_000)])
def test_the_sizes_are_about_what_they_are_called_and_fit_into_5_mb(size, parameters):
    count = sum(p.numel() for p in untrained(size).parameters())
    assert 0.9 * parameters < count < 1.1 * parameters
    assert count * 4 < 5e6


def test_both_sizes_have_one_vocabulary():
    for size in SIZES:
        model = untrained(size)
        assert model.config.vocab_size == len(IDS) == len(tokenizer())
        assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_an_unknown_size_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'world-1m'"):
        untrained("world-1M")


def test_the_start_depends_on_the_seed_and_disturbs_no_other_random_numbers():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    a, b, other = (untrained("world-300k", seed).state_dict() for seed in (0, 0, 1))
    assert torch.rand(1) == expected
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert any(not torch.equal(a[k], other[k]) for k in a)


def test_the_first_100_steps_give_the_same_weights_twice(tmp_path):
    models.save(untrained("world-300k"), Tokens(tokenizer()), tmp_path / "start")
    recipe = pretraining(tmp_path / "start", "world-300k", 100, 2, 3e-3, 0, "cpu", 1)
    losses = []
    one = pretrain(recipe, None, tell=lambda record: losses.append(record["loss"])).engine.model.state_dict()
    two = pretrain(recipe, None).engine.model.state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert sum(losses[-20:]) < 0.9 * sum(losses[:20])


def test_fast_tokens_train_on_what_ordinary_tokens_train_on():
    fast, ordinary = WorldTokens(tokenizer()), Tokens(tokenizer(), control_tokens="read")  # its texts spell turns
    for example in Documents(50, seed=2):
        assert fast.demonstration(example) == ordinary.demonstration(example)


def test_a_build_is_an_ordinary_model_folder(built):
    model, tokens = models.load(built)
    assert tokens.tokenizer.chat_template and not list(built.glob("*.bin"))
    start = untrained("world-300k").state_dict()
    assert any(not torch.equal(start[k], v) for k, v in model.state_dict().items())


def test_the_card_states_every_ability_and_what_is_kept_back(built):
    card = json.loads((built / "card.json").read_text())
    assert {f"world/{name}" for name in (*card["abilities"], *card["held_back"])} == {
        f"world/{name}" for name in (*cards.ABILITIES, *cards.HELD_BACK)
    }
    (only,) = card["pretraining"]
    assert only["steps"] == 4 and only["tokens_trained"] > 0
    assert card["parameters"] == sum(p.numel() for p in untrained("world-300k").parameters())
    page = (built / "README.md").read_text()
    assert all(f"| {name} |" in page for name in (*card["abilities"], *card["held_back"]))
    assert "- `multiply`: a" in page


def test_a_card_counts_right_answers(built):
    model, tokens = models.load(built)
    task = lookup("task", "world/add")
    engine = Engine(model, tokens)
    answers = [e.completion for e in task.examples("test", 10)]

    class Oracle(Engine):
        """Answers the first seven questions rightly and says nothing to the rest."""

        def sample(self, prompts, sampling, n=1, seed=0):
            from scalpel.engine import Sample

            said = [answer if i < 7 else "" for i, answer in enumerate(answers)]
            return [[Sample([*tokens.completion(text, "")], [], True)] for text in said]

    measured = cards.ability(Oracle(model, tokens), "add", 10)
    assert measured["accuracy"] == measured["pass_at_1"] == 0.7 and measured["items"] == 10
    assert measured["low"] < 0.7 < measured["high"]
    assert cards.ability(engine, "add", 10)["accuracy"] < 0.5


def test_styles_are_counted_as_shares():
    assert cards.styles(["1+2=3#3", "3,4#4", "3,5#5", "7"]) == {"a": 0.25, "b": 0.5}


def test_a_second_build_into_the_same_folder_is_refused(built):
    before = (built / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="is there already"):
        build(built, "world-300k", steps=1, batch=1, device="cpu", items=1)
    assert (built / "model.safetensors").read_bytes() == before


def test_an_unfinished_build_goes_on_only_when_told(tmp_path):
    run = tmp_path / "small.run"
    run.mkdir()
    for name, text in (("recipe.toml", ""), ("environment.json", "{}"), ("metrics.jsonl", '{"step": 1}\n')):
        (run / name).write_text(text)
    with pytest.raises(ValueError, match="already holds a run: continue it with --resume"):
        build(tmp_path / "small", "world-300k", steps=1, batch=1, device="cpu", items=1)


def test_a_model_that_goes_on_starts_from_its_weights_and_its_card_tells_both_passes(built, tmp_path):
    out = tmp_path / "more"
    build(out, "world-300k", steps=1, batch=2, learning_rate=1e-9, seed=1, start=built, more={"boxes": 5.0}, threads=1,
          device="cpu", items=2)  # fmt: skip
    before, after = (models.load(folder)[0].state_dict() for folder in (built, out))
    assert all(torch.allclose(before[k], after[k], atol=1e-6) for k in before)
    passes = json.loads((out / "card.json").read_text())["pretraining"]
    assert [(p["steps"], p["more"]) for p in passes] == [(4, {}), (1, {"boxes": 5.0})]
    assert "2 documents, 5 × boxes," in (out / "README.md").read_text()


def test_a_start_of_another_size_is_refused(built, tmp_path):
    with pytest.raises(ValueError, match="not a model of size world-1m"):
        build(tmp_path / "out", "world-1m", steps=1, start=built)
