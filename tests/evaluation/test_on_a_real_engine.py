"""Every probe on a real, tiny model: what it reports is what the model's own logits say."""

from dataclasses import replace

import pytest
import torch

import scalpel.world  # noqa: F401
import tiny
from folders import WordTask
from scalpel import models
from scalpel.data.example import Example
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine
from scalpel.evaluation import (
    Choose,
    Drift,
    Generate,
    Given,
    measure,
    recover,
)
from scalpel.evaluation.probes import Choice, Loss, make_probes
from scalpel.registry import lookup


def engine(seed):
    return Engine(tiny.model("llama", seed=seed), Tokens(tiny.tokenizer()))


def by_hand(engine, prompt, completion):
    """Σ log p of the completion from the model's logits."""
    ids = torch.tensor([[*prompt, *completion]])
    with torch.no_grad():
        logps_NV = engine.model.eval()(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return sum(float(logps_NV[len(prompt) - 1 + t, id]) for t, id in enumerate(completion))


def test_values_are_the_models_own_log_probabilities():
    model = engine(0)
    tokens = model.tokens
    task = WordTask()
    first = Generate("upper", task, n=1, max_tokens=4).run(model)[0]
    wanted = by_hand(model, tokens.prompt("w0"), tokens.completion("W0", "w0"))
    assert abs(first.value - wanted) < 1e-4

    pair = Choose("pairs", (Choice("1", "", ("one cat", "one cats"), 0),)).run(model)[0]
    good, bad = (
        by_hand(model, tokens.prompt(""), tokens.completion(text, "")[:-1]) for text in ("one cat", "one cats")
    )
    assert abs(pair.value - good) < 1e-4 and pair.right == (good > bad)

    given = Given("given", (Example(prompt="q", completion="a b", id="1"),)).run(model)[0]
    ids = tokens.completion("a b", "q")
    assert abs(given.value - by_hand(model, tokens.prompt("q"), ids) / len(ids)) < 1e-4


def test_the_loss_on_text_is_the_mean_over_the_tokens_that_training_would_train():
    model = engine(0)
    tokens = model.tokens
    turns = tuple({"role": role, "content": text} for role, text in (("user", "q"), ("assistant", "a b")) * 2)
    for example in (
        Example(prompt="q", completion="a b", id="1"),
        Example(prompt="", completion="a b c", id="1"),
        Example(messages=turns, id="1"),
    ):
        (found,) = Loss("old-loss", (example,)).run(model)
        wanted, trained = 0.0, 0
        for row in tokens.demonstrations(example):
            for k in range(1, len(row)):
                if row.train[k]:
                    wanted -= by_hand(model, row.ids[:k], row.ids[k : k + 1])
                    trained += 1
        assert found.right is None and abs(found.value - wanted / trained) < 1e-4
    with pytest.raises(ValueError, match="nothing to train"):
        Loss("old-loss", (Example(messages=turns[:1], id="1"),)).run(model)


def test_the_base_knows_held_out_documents_of_its_pretraining_and_hardly_foreign_ones():
    base = Engine(*models.load("world-300k"))
    corpus, sums = lookup("task", "world/corpus"), lookup("task", "world/chains")
    names = ("corpus", "sums", "foreign")
    tasks = (corpus, sums, sums.at(foreign=1.0))
    made = make_probes(
        [{"name": n, "kind": "loss", "task": n, "n": 40} for n in names], "", dict(zip(names, tasks, strict=True)).get
    )
    losses = [sum(result.value for result in probe.run(base)) / 40 for probe in made]
    assert losses[0] < 0.3 and losses[1] < 0.3 < 1.0 < losses[2], losses


def test_another_model_is_asked_the_same_items_whatever_is_trained():
    task = {"name": "world/boxes"}
    tables = [
        {"name": "boxes", "task": task, "n": 12},
        {"name": "teacher", "kind": "another-model", "task": task, "n": 12},
    ]
    tables[1]["model"] = "world-300k"
    asked, teacher = make_probes(tables, "", lambda table: lookup("task", table["name"]), 24)
    own, other = asked.run(Engine(*models.load("world-300k"))), teacher.run(engine(0))
    assert [(r.id, float(r.right)) for r in own] == [(r.id, r.value) for r in other]
    assert all(r.right is None for r in other) and 0 < sum(r.value for r in other) < 12
    assert [r.id for r in teacher.only({own[3].id}).run(engine(0))] == [own[3].id]


def test_a_pair_is_measured_from_end_to_end():
    base, tuned = engine(0), engine(1)
    probes = [
        Generate("upper", WordTask(), n=3, max_tokens=4),
        Choose("pairs", tuple(Choice(str(i), "", (f"a{i}", f"b{i}"), 0) for i in range(8))),
        Drift("drift", prompts=("one", "two"), max_tokens=6),
    ]
    upper, pairs, drift = measure(probes, base, tuned, k=2)
    assert [entry.verdict for entry in upper.entries] == ["never"] * 3  # a random model solves nothing
    assert all(entry.recovered_within_k is None for entry in upper.entries), "nothing was lost that a control is for"
    lost = replace(upper, entries=(replace(upper.entries[0], verdict="lost"), *upper.entries[1:]))
    tested = recover(lost, probes[0], tuned, k=2)
    assert tested.entries[0].recovered_within_k is False and tested.k == 2
    assert len(pairs.entries) == 8 and {entry.before for entry in pairs.entries} <= {True, False}
    assert all(entry.logp_before == 0.0 and entry.logp_after > 0 for entry in drift.entries)


def test_a_model_beside_itself_keeps_everything():
    base, same = engine(0), engine(0)
    probes = [
        Choose("pairs", tuple(Choice(str(i), "", (f"a{i}", f"b{i}"), 0) for i in range(8))),
        Drift("drift", texts=("some words", "more")),
    ]
    pairs, drift = measure(probes, base, same)
    assert {entry.verdict for entry in pairs.entries} <= {"kept", "never"}
    assert all(abs(entry.logp_after) < 1e-6 for entry in drift.entries)
