"""A typo in any table of a recipe is found before a model is opened."""

import json

import pytest

import scalpel
from scalpel import models

ROWS = [{"prompt": f"Say {n}", "completion": f" {n}", "answer": str(n)} for n in range(40)]
CHOICES = [{"prompt": "a", "choices": ["b", "c"], "answer": 0}] * 3
SUMS = {"name": "jsonl", "path": "data.jsonl", "verify": "exact"}
CODE = "x = 3\ndef f(completions): return [1.0] * len(completions)\ndef g(completions, difficulty): return [1.0]\n"
FLOOR = {"floor": 0.9}


def keep(**spec):
    return {"keep": {**FLOOR, "sets": [spec]}}


def probe(**spec):
    return {"measure": {"probes": [{"name": "p", **spec}]}}


def rewards(*specs):
    return {"data": {"rewards": list(specs)}}


def signal(**more):
    groups = {"source": {"name": "groups", "size": 2}, "credit": ["group-mean"], "objective": "clipped-pg"}
    return {"train": {"signals": [{**groups, **more}]}}


def anchor(**more):
    return {"train": {"method": "sft", "anchors": [{"name": "elastic", **more}]}}


TYPOS = {
    "a task's name": ({"task": {"name": "jsonll", "path": "data.jsonl"}}, "jsonl"),
    "a task's key": ({"task": {**SUMS, "verfy": "exact"}}, "verify"),
    "a task's path": ({"task": {**SUMS, "path": "dta.jsonl"}}, "data.jsonl"),
    "a task's verifier": ({"task": {**SUMS, "verify": "exakt"}}, "exact"),
    "a verifier's key": ({"task": {**SUMS, "verify": {"name": "exact", "ignor_case": True}}}, "ignore_case"),
    "a verifier's pattern": ({"task": {**SUMS, "verify": {"name": "pattern", "pattern": "("}}}, "regular expression"),
    "a verifier's file": ({"task": {**SUMS, "verify": "cod.py:f"}}, "code.py"),
    "a verifier's function": ({"task": {**SUMS, "verify": "code.py:ff"}}, "'f'"),
    "a task's columns": ({"task": {**SUMS, "columns": {"answer": "anser"}}}, "anser"),
    "an instruction": ({"task": {**SUMS, "extract": "("}}, "regular expression"),
    "a mixture's source": ({"task": {"name": "mix", "sources": [{**SUMS, "verfy": 1}]}}, "verify"),
    "a world task": ({"task": {"name": "world/revers"}}, "world/reverse"),
    "a generator": ({"task": {"name": "reasoning-gym/chain_sm"}}, "chain_sum"),
    "a reward's name": (rewards("exakt"), "exact"),
    "a reward's key": (rewards({"name": "exact", "wieght": 1}), "weight"),
    "a reward's file": (rewards("cod.py:f"), "code.py"),
    "a reward's function": (rewards("code.py:ff"), "'f'"),
    "a reward that can't be called": (rewards("code.py:x"), "function"),
    "a reward's column": (rewards("code.py:g"), "difficulty"),
    "a reward inside another": (rewards({"name": "given", "of": "exakt", "where": "exact"}), "exact"),
    "a reward that shapes": (rewards("exact", {"name": "brevity", "treshold": 1}), "threshold"),
    "a judge's role": (rewards({"name": "judge", "role": "jugde"}), "needs a 'jugde' model"),
    "a verifier among rewards": (rewards({"name": "pattern", "pattern": "("}), "regular expression"),
    "a signal's reward": (signal(rewards=["exakt"]), "exact"),
    "a signal's reward's column": (signal(rewards=["code.py:g"]), "difficulty"),
    "a signal's task": (signal(task={"name": "world/ad"}), "world/add"),
    "a source": (signal(source={"name": "group"}), "groups"),
    "a source's key": (signal(source={"name": "groups", "sise": 2}), "size"),
    "a source's pattern": (signal(source={"name": "accepted-samples", "key": "("}), "regular expression"),
    "a signal's selection": (signal(select="lernable"), "learnable"),
    "a credit": (signal(credit=["group-men"]), "group-mean"),
    "an objective": (signal(objective="clipped-pq"), "clipped-pg"),
    "an anchor": (anchor(name="elastik"), "elastic"),
    "an anchor's task": (anchor(task={"name": "world/ad"}), "world/add"),
    "an anchor's source": (anchor(source="demonstration"), "demonstrations"),
    "a scope": ({"train": {"method": "sft", "scope": "lorra"}}, "lora"),
    "a method": ({"train": {"method": "stf"}}, "sft"),
    "a keep set's kind": (keep(name="k", kind="tokn", task=SUMS), "tokens"),
    "a keep set's key": (keep(name="k", tsak=SUMS), "task"),
    "a keep set's task": (keep(name="k", task={"name": "world/ad"}), "world/add"),
    "a keep set's path": (keep(name="k", kind="choose", path="choice.jsonl"), "no file choice.jsonl"),
    "a keep set's rows": (keep(name="k", kind="choose", path="data.jsonl"), "data.jsonl:1"),
    "what steers": ({"keep": {**keep(name="k", task=SUMS)["keep"], "steer": "kep"}}, "steer"),
    "a probe's kind": (probe(kind="generat", task=SUMS), "generate"),
    "a probe's key": (probe(task=SUMS, splt="test"), "split"),
    "a probe's split": (probe(task=SUMS, split="tst"), "test"),
    "a probe's task": (probe(task={"name": "world/ad"}), "world/add"),
    "a probe's verifier": (probe(task={**SUMS, "verify": "exakt"}), "exact"),
    "a probe's path": (probe(kind="choose", path="choice.jsonl"), "no file choice.jsonl"),
    "a probe's rows": (probe(kind="choose", path="data.jsonl"), "data.jsonl:1"),
    "a probe's pattern": (probe(kind="sampled", task=SUMS, of="pattern", pattern="("), "pattern|regular expression"),
    "the target": ({"measure": {**probe(task=SUMS)["measure"], "target": "q"}}, "'q'"),
    "a validation's key": ({"train": {"method": "sft", "validate": {"evry": 2}}}, "every"),
    "a role": ({"train": {"method": "distill"}}, "models"),
    "a tracker": ({"track": "tensorbord"}, "tensorboard"),
    "a template": ({"model": {"path": "model", "chat_template": "templat.jinja"}}, "template.jinja"),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    at = tmp_path_factory.mktemp("files")
    for name, rows in (("data", ROWS), ("choices", CHOICES)):
        (at / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (at / "code.py").write_text(CODE)
    (at / "template.jinja").write_text("{{ messages }}")
    return at


def refused(monkeypatch, files, over, tmp_path):
    """What comes where that is trained."""

    def load(*arguments, **named):
        raise AssertionError("a model was opened")

    monkeypatch.chdir(files)
    monkeypatch.setattr(models, "load", load)
    recipe = {"model": {"path": "model"}, "task": SUMS, "train": {"method": "grpo"}, **over}
    scalpel.train(recipe, out=tmp_path / "run")


@pytest.mark.parametrize("typo", TYPOS)
def test_it_is_found_before_a_model_is_opened(monkeypatch, files, tmp_path, typo):
    over, words = TYPOS[typo]
    with pytest.raises(ValueError, match=words):
        refused(monkeypatch, files, over, tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_one_a_model_is_opened(monkeypatch, files, tmp_path):
    good = {**rewards("exact", "code.py:f"), **keep(name="k", task=SUMS), **probe(task=SUMS)}
    with pytest.raises(AssertionError, match="opened"):
        refused(monkeypatch, files, good, tmp_path)
