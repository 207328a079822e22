"""Values that can't be meant, each refused with its place and what it must be; and what is said of odd ones."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from command_line import Place
from scalpel.config.recipe import parse, read
from scalpel.experiments.preflight import refuse_arms, refuse_recipe

BARE: dict[str, Any] = {
    "model": "m",
    "task": {"name": "world/reverse"},
    "train": {"method": "grpo"},
    "measure": {"probes": [{"name": "a", "task": {"name": "world/reverse"}}]},
}
BAD = [
    ("train.steps=0", "train.steps is 0, but must be an integer from 1"),
    ("train.steps=true", "train.steps is True, but must be an integer"),
    ("train.steps='5'", "train.steps is '5', but must be an integer"),
    ("train.steps=2020-01-01", "train.steps is 2020-01-01, a date"),
    ("train.batch=1000000000", "train.batch is 1000000000, but must be an integer from 1 to 1000000"),
    ("train.learning_rate=0", "train.learning_rate is 0, but must be a number above 0"),
    ("train.learning_rate=nan", "train.learning_rate is nan, which is no number"),
    ("train.learning_rate=inf", "train.learning_rate is inf"),
    ("train.learning_rate=1e300", "at most 1e+30"),
    ("train.warmup=1.0", "train.warmup is 1.0, but must be a number of 0 or more and below 1"),
    ("train.betas=[0.9, 1.0]", "train.betas.1 is 1.0"),
    ("train.betas=0.9", "train.betas is 0.9"),
    ("train.budget={amount=inf}", "train.budget.amount is inf"),
    ("train.sampling.temperature=1e9", "train.sampling.temperature is"),
    ("train.sampling=3", "train.sampling is 3, but must be a table"),
    ("train.scope={name='lora', rank=10000000}", "'rank' of scope 'lora' is 10000000, but must be an integer from 1"),
    ("train.signals.0.source.size=0", "'size' of source 'groups' is 0"),
    ("train.signals.0.weight={from=1, to='x'}", "must be a number"),
    ("train.method=3", "method is 3, but must be the name"),
    ("train=3", "train is 3, but must be a table"),
    ("keep=[]", "keep is [], but must be a table"),
    ("keep={floor=nan}", "keep.floor is nan"),
    ("keep={sets=[{name='a'}]}", "keep.sets.0 has no 'task'"),
    ("keep={sets=[{name='a', task={name='world/ad'}}]}", "keep.sets.0.task: unknown task 'world/ad': did you mean"),
    ("threads=1000000", "threads is 1000000, but must be an integer from 0 to 1024"),
    ("seed=1180591620717411303424", "seed has more than the 64 bits"),
    ("name=''", "name is '', but must be text that is not empty"),
    ("task=3", "task is 3, but must be a table"),
    ("task.least='x'", "task.least is 'x', but must be an integer from 0 to 1000"),
    ("task.least=9", "least is 9 and most is 8"),
    ("task={name='jsonl', path=3}", "task.path is 3, but must be text"),
    ("task={name='jsonl', path='none.jsonl'}", "none.jsonl"),
    ("data.rewards=['exakt']", "data.rewards.0: unknown reward 'exakt': did you mean 'exact'"),
    ("data.rewards=[{name='exact', weight='x'}]", "data.rewards.0.weight is 'x', but must be a number"),
    ("data.rewards=['none.py:f']", "data.rewards.0: no file none.py"),
    ("measure.probes.0.n='x'", "measure.probes.0.n is 'x', but must be an integer from 1"),
    ("measure.probes.0.task.most=[]", "measure.probes.0.task.most is [], but must be an integer"),
    ("measure.probes.0.kind='chose'", "measure.probes.0: unknown kind of probe 'chose': did you mean 'choose'"),
    ("measure.probes.0.splt='test'", "measure.probes.0: unknown key 'splt': did you mean 'split'"),
    ("measure.points=-1", "measure.points is -1"),
    ('name="abc', "the value begins with a quote"),
    ("train..steps=3", "has an empty key"),
]


@pytest.mark.parametrize(("override", "words"), BAD)
def test_it_is_refused_with_its_place_before_a_model_is_opened(
    override: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as error:
        refuse_recipe(parse(BARE, [override]))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        (3, "compare.arms.0 is 3, but must be a table"),
        ({}, "needs a name"),
        ({"name": 3}, "compare.arms.0.name is 3, but must be text"),
        ({"name": "a", "stages": "x"}, "compare.arms.0.stages is 'x', but must be a list"),
        ({"name": "a", "stages": []}, "stages is empty"),
        ({"name": "a", "learning_rates": ["x"]}, "compare.arms.0.learning_rates.0 is 'x', but must be a number"),
        ({"name": "a", "methd": "sft"}, "unknown key 'methd': did you mean 'method'"),
    ],
)
def test_a_table_that_is_no_arm_is_refused(arm: Any, words: str) -> None:
    with pytest.raises(ValueError) as error:
        refuse_arms([arm])
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"a = 1\xff", "not UTF-8 at byte 6"),
        (b"a = ", "not valid TOML"),
        (b"a = " + b"9" * 5000, "not valid TOML"),
        (b"a = " + b"[" * 9000, "nested too deep"),
        (b"", "missing key"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(raw: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_bytes(raw)
    with pytest.raises(ValueError, match=words):
        read(tmp_path / "r.toml")
    with pytest.raises(ValueError, match="is a folder"):
        read(tmp_path)


def test_a_task_without_training_items_is_refused_before_a_model_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    task = {"name": "jsonl", "path": str(tmp_path / "a.jsonl"), "shares": {"test": 1}}
    with pytest.raises(ValueError, match="no training items"):
        refuse_recipe(parse({"model": "m", "task": task, "train": {"method": "sft"}}))


@pytest.mark.parametrize(
    ("override", "words"),
    [("train.signals.0.source.size=1", "a group of one"), ("train.sampling.temperature=0", "at temperature 0")],
)
def test_groups_whose_samples_cannot_differ_are_said(
    override: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "scalpel"):
        refuse_recipe(parse(BARE, [override]))
    assert words in caplog.text


def test_any_seed_of_moderate_size_is_taken() -> None:
    for seed in (-1, 0, 2**53):
        assert parse(BARE, [f"seed={seed}"]).seed == seed


WRONG = ["", "..", "folder", "bytes", "empty", "x" * 5000, "a\0b", "/dev/null"]
COMMANDS = [
    ("train", "?"),
    ("compare", "?"),
    ("measure", "m", "--base", "m", "--probes", "?"),
    ("diff", "?", "folder"),
    ("merge", "?"),
    ("report", "?"),
    ("methods", "?"),
    ("claim", "?"),
    ("claim", "a", "--claims", "?"),
]
NUMBERS = ["", "-1", "x", "nan", "1e400", "0.5"]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_path_that_is_none_of_a_command_ends_in_one_message(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty").touch()
    for value in WRONG:
        assert place.refused(*(value if part == "?" else part for part in command))


@pytest.mark.parametrize("option", ["--max-tokens", "--temperature", "--seed"])
def test_a_number_that_is_none_is_refused_before_a_model_is_opened(option: str, tmp_path: Path) -> None:
    for value in NUMBERS:
        if (option, value) not in {("--seed", "-1"), ("--temperature", "0.5"), ("--temperature", "1e400")}:
            assert Place(tmp_path).refused("generate", str(tmp_path / "none"), "hi", option, value)


def test_a_checkpoint_of_a_run_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path)
    task = '{name = "jsonl", path = "data.jsonl"}'
    place.write("r.toml", f'name = "a"\nmodel = "none"\ntask = {task}\n[train]\nmethod = "sft"\n')
    said = place.refused("train", "r.toml", "--resume", "--checkpoint", "checkpoint-3")
    assert "holds no run, so it has no checkpoint 'checkpoint-3' to resume from" in said


def test_a_document_or_a_claim_that_is_no_text_is_named(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "page.md").write_bytes(b"\xff")
    (tmp_path / "claims/a").mkdir(parents=True)
    (tmp_path / "claims/a/claim.toml").write_bytes(b"a = \xff")
    assert "is not UTF-8 at byte 1" in place.refused("methods", str(tmp_path / "page.md"))
    assert "is not UTF-8 at byte 5" in place.refused("claim", "a", "--claims", str(tmp_path / "claims"))
