"""No step on nothing: what is too long is refused by file and line, or counted and said before step 1."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

import tiny
from scalpel.config.recipe import Recipe, parse
from scalpel.data.example import Example
from scalpel.data.tokenized import Tokenized
from scalpel.experiments.single import run_recipe
from scalpel.training.lengths import Lengths, Limit
from scalpel.training.loop import train

ROWS = [{"prompt": f"say {w}>", "completion": w, "answer": w} for w in ("one", "two", "three", "four")]
LONG = [{"prompt": "a" * 80, "completion": "done", "answer": "done"}, {"prompt": "go>", "completion": "b" * 80}]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.folder(tmp_path_factory.mktemp("m") / "gpt2", "gpt2"))


@pytest.fixture
def made(tmp_path: Path, model: str) -> Any:
    def made(rows: list[dict[str, Any]], measure: Any = None, **train: Any) -> Recipe:
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        stage = {"method": "sft", "steps": 2, "batch": 4, "learning_rate": 1e-3, "max_length": 40, **train}
        task = {"name": "jsonl", "path": str(path), "verify": "exact"}
        tables = {"model": {"path": model, "device": "cpu"}, "task": task, "train": stage}
        return parse({**tables, "measure": measure} if measure else tables)

    return made


def records(run: Path) -> list[dict[str, Any]]:
    """The records of its steps."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == "train"]


def refused(recipe: Recipe) -> str:
    steps: list[Any] = []
    with pytest.raises(ValueError) as error:
        train(recipe, tell=steps.append)
    assert not steps
    return str(error.value)


def test_a_row_that_is_too_long_is_named_with_its_length_and_the_limit(made: Any) -> None:
    words = refused(made([*ROWS, *LONG]))
    assert "data.jsonl:5 has 85 tokens, and max_length is 40: raise max_length" in words and "'keep_end'" in words
    huge = refused(made([{"prompt": "a" * 900, "completion": "b"}], max_length=None))
    assert "data.jsonl:1 has 902 tokens, and the model's context is " in huge


@pytest.mark.parametrize(
    ("policy", "said", "counts"),
    [
        ("drop", "2 of 6 are dropped for their length (first ", (0, 2)),
        ("keep_start", "1 of 6 sequences are shortened, and only their beginning is kept", (1, 1)),
        ("keep_end", "2 of 6 sequences are shortened, and prompts lose their beginning", (2, 0)),
    ],
)
def test_what_is_lost_is_said_before_step_1_and_kept_in_the_record(
    policy: str, said: str, counts: tuple[int, int], made: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "scalpel"):
        run_recipe(made([*ROWS, *LONG], truncation=policy, batch=6), tmp_path / "run", saves_model=False)
    (words,) = [r.getMessage() for r in caplog.records if "max_length is 40" in r.getMessage()]
    assert said in words and "data.jsonl:" in words and "template" not in words
    (lengths,) = json.loads((tmp_path / "run" / "data.json").read_text())["lengths"]["sft"]
    assert (lengths["shortened"]["count"], lengths["dropped"]["count"]) == counts
    record = records(tmp_path / "run")[0]
    assert (record.get("data/shortened", 0), record.get("data/dropped", 0)) == counts
    assert record["loss"] > 0 and "data/empty" not in record


def test_a_run_that_would_train_nothing_is_refused_with_the_cause(made: Any) -> None:
    words = refused(made(ROWS, truncation="keep_start", max_length=3))
    assert "nothing to train on: max_length is 3" in words and "leaves none of 4 rows anything to train" in words
    masked = Lengths(Limit(9, "max_length is 9", "error"))
    masked.fit(Tokenized([1, 2], [False, False], [0, 0]), Example(where="a.jsonl:1"))
    with pytest.raises(ValueError, match=r"no token of 1 rows is marked as trained \(first a\.jsonl:1\)"):
        masked.refuse_nothing()


def test_steps_without_anything_to_train_are_counted(
    made: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = made([ROWS[0], LONG[0]], truncation="drop", batch=1, steps=4)
    with caplog.at_level(logging.WARNING, "scalpel"):
        run_recipe(recipe, tmp_path / "run", saves_model=False)
    assert "2 of 4 steps had a batch without a trained token" in caplog.text
    assert sum(record.get("data/empty", 0) for record in records(tmp_path / "run")) == 2


def test_a_prompt_that_fills_the_context_is_refused_before_anything_is_sampled(made: Any) -> None:
    recipe = made([{"prompt": "a" * 900, "answer": "b"}], method="grpo", max_length=None)
    assert "data.jsonl:1 has a prompt of 900 tokens, and the model's context is" in refused(recipe)


def test_samples_end_where_the_context_does(made: Any, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"prompt": "a" * 250, "answer": "b"}]
    recipe = made(rows, method="grpo", max_length=None, batch=1, steps=1, sampling={"max_tokens": 20})
    with caplog.at_level(logging.WARNING, "scalpel"):
        train(recipe)
    assert "cut off before sampling.max_tokens" in caplog.text


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"validate": {"every": 1}}, "validate: .* has no tuning items: its 1 rows are divided into"),
        ({}, r"training: .* has no training items"),
    ],
)
def test_splits_without_rows_are_refused_before_the_model_is_opened(
    train: dict[str, Any], words: str, made: Any, tmp_path: Path
) -> None:
    recipe = made(ROWS[:1], **train)
    share = {"test": 1.0} if not train else {"train": 1.0}
    recipe = recipe.model_copy(update={"task": {**recipe.task, "shares": share}})
    nowhere = recipe.model.model_copy(update={"path": str(tmp_path / "nowhere")})
    with pytest.raises(ValueError, match=words):
        run_recipe(recipe.model_copy(update={"model": nowhere}), tmp_path / "run")


def test_what_can_hardly_be_meant_is_said(made: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = {"method": "grpo", "batch": 1, "steps": 1, "max_length": None}
    cold = made(ROWS[:1], sampling={"temperature": 0.0, "max_tokens": 2}, **stage)
    with caplog.at_level(logging.WARNING, "scalpel"):
        run_recipe(cold, tmp_path / "run", saves_model=False)
    assert "at temperature 0 all samples of a prompt are identical" in caplog.text
