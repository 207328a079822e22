"""Before any arm runs: the rows that the arms share are shown once, what can't work is refused without opening a model,
and a comparison goes on only with what leaves its arms alike."""

import json
import logging

import pytest

import scalpel
import tiny
from command_line import Place
from scalpel.config.changes import refuse_other_comparison
from scalpel.config.recipe import parse, write
from scalpel.experiments import single
from scalpel.experiments.compare import checked, compare
from scalpel.experiments.compare_data import differences, shared_inventory
from scalpel.experiments.compare_resume import INPUTS, is_finished, occupy, read_by
from scalpel.runs.progress import Progress

TABLES = {
    "name": "arms",
    "model": {"path": "model", "device": "cpu"},
    "task": {"name": "jsonl", "path": "data.jsonl", "verify": "exact"},
    "compare": {
        "seeds": [0],
        "workers": 1,
        "budget": "steps",
        "shared": {"batch": 100, "steps": 1, "sampling": {"max_tokens": 2}},
        "arms": [{"name": "sft", "method": "sft"}, {"name": "half", "method": "sft", "scope": "hft"}],
    },
    "measure": {"probes": [{"name": "say", "task": {"name": "jsonl", "path": "data.jsonl", "verify": "exact"}}]},
}


@pytest.fixture
def at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path)
    place.write("other.jsonl", "".join(json.dumps({"prompt": f"{n}", "answer": "1"}) + "\n" for n in range(9)))
    return place


def recipe(**over):
    tables = json.loads(json.dumps(TABLES))
    for place, value in over.items():
        *path, last = place.split("__")
        inner = tables
        for key in path:
            inner = inner[int(key)] if key.isdecimal() else inner.setdefault(key, {})
        inner[int(last) if last.isdecimal() else last] = value
    return parse(tables)


def arms(made):
    return {arm.name: arm.recipe for arm in checked(made)[1]}


def learning(path):
    """What an arm says that learns from a file of its own."""
    task = {"name": "jsonl", "path": path}
    return {"signals": [{"source": "demonstrations", "objective": "nll", "task": task}]}


class Told(Progress):
    def __init__(self):
        super().__init__(quiet=True)
        self.told = []

    def say(self, words):
        self.told.append(words)


@pytest.fixture
def no_model(monkeypatch):
    opened = []

    def load(*arguments, **named):
        opened.append(1)
        raise AssertionError("a model was opened")

    monkeypatch.setattr(single.models, "load", load)
    return opened


# --- the table --------------------------------------------------------------------------------------------------


def test_the_table_is_shown_once_and_kept_beside_the_arms(at, monkeypatch):
    tiny.folder(at.folder / "model")
    monkeypatch.setattr("scalpel.experiments.workers.cores", lambda: 1)
    made, told = recipe(measure__probes=[{"name": "say", "n": 2, "max_tokens": 2, "task": TABLES["task"]}]), Told()
    compare(made, at.folder / "out", progress=told)
    (table,) = [words for words in told.told if words.startswith("data:")]
    rows = [line.split()[0] for line in table.splitlines()[2:4]]
    assert rows == ["training", "probe"] and "a step takes 100 rows of" in table
    assert [use["who"] for use in at.json("out/data.json")["uses"]] == ["training", "probe 'say'"]
    assert set(at.json("out/inputs.json")["files"]) >= {"data.jsonl", "model/model.safetensors"}
    told.told.clear()
    scalpel.compare(made, out=at.folder / "out", resume=True, progress=told)
    assert not told.told  # it is finished


def test_the_rows_of_all_arms_and_of_the_tuning_are_in_it(at):
    own = [{"name": "sft", "method": "sft"}, {"name": "own", "learning_rates": [1e-3, 1e-4], **learning("other.jsonl")}]
    made = recipe(compare__arms=own)
    found = shared_inventory(made, arms(made))
    who = [(line.who, line.source) for line in found.lines]
    assert sorted(who) == [
        ("probe 'say'", "jsonl:data.jsonl"),
        ("training", "jsonl:data.jsonl"),
        ("training", "jsonl:other.jsonl"),
        ("tuning of learning rates", "jsonl:data.jsonl"),
    ]
    assert found.notes[-1] == (
        "the arms don't train on the same rows: sft from jsonl:data.jsonl; own from jsonl:other.jsonl"
    )


def test_arms_that_share_their_rows_are_not_told_apart(at):
    made = recipe()
    assert differences(arms(made)) == []


# --- what is refused --------------------------------------------------------------------------------------------

EMPTY = {"name": "jsonl", "path": "data.jsonl", "verify": "exact", "shares": {"train": 1.0}}


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"task": {**EMPTY, "shares": {"test": 1.0}}}, "has no training items"),
        ({"measure__probes": [{"name": "say", "task": EMPTY}]}, "probe 'say': jsonl:data.jsonl has no items"),
        (
            {"task": {**EMPTY, "shares": {"train": 0.5, "test": 0.5}}, "compare__learning_rates": [1e-3, 1e-4],
             "measure__probes": [{"name": "say", "task": {**EMPTY, "shares": {"train": 0.5, "test": 0.5}}}]},
            "tuning of learning rates: .* has no tuning items",
        ),
        ({"compare__arms__1": {"name": "bad", "method": "grpo"}, "data": {"rewards": ["data.py:f"]}}, "data.py"),
        ({"compare__arms__1": {"name": "bad", "method": "distill"}}, "arm 'bad'.*models"),
        ({"compare__arms__1": {"name": "bad", **learning("gone.jsonl")}}, "gone.jsonl"),
    ],
)  # fmt: skip
def test_an_empty_split_or_an_arm_that_can_not_work_is_refused_before_anything_is_opened(at, no_model, over, words):
    before = at.listing()
    with pytest.raises(ValueError, match=words):
        scalpel.compare(recipe(**over), out="out")
    assert not no_model and at.listing() == before


# --- going on ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "over",
    [
        {"name": "other", "threads": 1, "track": "tensorboard"},
        {"compare__workers": 2, "compare__price": 2.0, "compare__limit": 0.1},
        {"compare__shared": {**TABLES["compare"]["shared"], "checkpoint_every": 5, "micro_tokens": 99}},
        {"compare__arms__0": {"name": "sft", "method": "sft", "log_completions": 2, "gradient_checkpointing": True}},
    ],
)
def test_keys_that_leave_the_arms_alike_may_change(at, over):
    assert refuse_other_comparison(write(recipe()), recipe(**over))


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"compare__seeds": [0, 1]}, r"compare\.seeds"),
        ({"compare__shared__batch": 4}, r"compare\.shared\.batch: was 100, now 4"),
        ({"compare__arms__1": {"name": "half", "method": "sft", "scope": "lora"}}, r"compare\.arms\.1\.scope"),
        ({"compare__arms__1": {"name": "more", "method": "sft"}}, r"compare\.arms\.1"),
        ({"compare__learning_rates": [1e-3]}, r"compare\.learning_rates"),
        ({"seed": 3}, "seed: was 0, now 3"),
        ({"measure__points": 1}, r"measure\.points"),
    ],
)
def test_keys_that_do_not_are_refused_with_what_they_were_and_are(at, over, words):
    with pytest.raises(ValueError, match=rf"{words}.*could not be compared with the others"):
        refuse_other_comparison(write(recipe()), recipe(**over))


def test_recipes_are_compared_by_what_they_mean(at):
    text = "\n".join(line for line in write(recipe()).splitlines() if not line.startswith(("threads", "price")))
    assert refuse_other_comparison("# a note\n" + text, recipe()) == []


def test_going_on_says_what_changed_and_refuses_files_that_did(at, caplog):
    (at.folder / "code.py").write_text("def f(completions): return [1.0] * len(completions)\n")
    over_it = {"data": {"rewards": ["code.py:f"]}}
    made, folder = recipe(**over_it), at.folder / "out"
    folder.mkdir()
    occupy(folder, made, read_by([made]), resume=False)
    (folder / INPUTS).write_text(json.dumps(read_by([made])))
    with pytest.raises(ValueError, match="already holds a comparison"):
        occupy(folder, made, read_by([made]), resume=False)
    with caplog.at_level(logging.WARNING, "scalpel"):
        occupy(folder, recipe(**over_it, compare__workers=2), read_by([made]), resume=True)
    assert "resuming with changed keys: compare.workers: was 1, now 2" in caplog.text
    assert "workers = 2" in (folder / "recipe.toml").read_text()
    (at.folder / "code.py").write_text("def f(completions): return [0.5] * len(completions)\n")
    with pytest.raises(ValueError, match=r"code\.py \(rewards\): its digest was .* another folder"):
        occupy(folder, made, read_by([made]), resume=True)


def test_a_finished_comparison_stays_unless_its_verdict_would_be_another(at, caplog):
    (at.folder / "recipe.toml").write_text(write(recipe()))
    (at.folder / "comparison.json").write_text('{"verdict": {}}')
    assert is_finished(at.folder, recipe(threads=1)) and "is finished: nothing was run" in caplog.text
    assert not is_finished(at.folder, recipe(compare__price=2.0))
    with pytest.raises(ValueError, match="started with another recipe"):
        is_finished(at.folder, recipe(seed=3))
