"""Data as tasks: TRL's columns, splits that never meet, and bad rows named by file and line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from scalpel import tasks
from scalpel.data.example import SPLITS, Example
from scalpel.tasks.columns import example
from scalpel.tasks.loaded import question
from scalpel.tasks.split import SHARES, split_of

USER, BOT = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}
ROWS = [{"prompt": f"{i} + 1 =", "answer": i + 1} for i in range(400)]

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(rows: list[Any], name: str = "data.jsonl") -> str:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return str(tmp_path / name)

    return write


def make(path: str, **options: Any) -> tasks.DataTask:
    task = tasks.make({"name": "jsonl", "path": path, **options})
    assert isinstance(task, tasks.DataTask)
    return task


def every(task: Any) -> list[Example]:
    return [e for split in SPLITS for e in task.examples(split, 10**6)]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": "a b"}, Example(completion="a b")),
        ({"messages": [USER, BOT]}, Example(messages=(USER, BOT))),
        ({"prompt": "a"}, Example(prompt="a")),
        ({"prompt": [USER]}, Example(prompt=(USER,))),
        ({"prompt": "a", "completion": "b"}, Example(prompt="a", completion="b")),
        ({"prompt": [USER], "completion": [BOT]}, Example(prompt=(USER,), completion="ho")),
        ({"prompt": "a", "answer": 7}, Example(prompt="a", answer="7")),
        ({"prompt": "a", "answer": "7", "level": 2}, Example(prompt="a", answer="7", columns={"level": 2})),
        ({"prompt": "a", "solution": "7"}, Example(prompt="a", answer="7", columns={"solution": "7"})),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, Example(prompt="a", chosen="b", rejected="c")),
        ({"prompt": [USER], "chosen": [BOT], "rejected": [BOT]}, Example(prompt=(USER,), chosen="ho", rejected="ho")),
        (
            {"chosen": [USER, BOT], "rejected": [USER, {**BOT, "content": "no"}]},
            Example(prompt=(USER,), chosen="ho", rejected="no"),
        ),
        (
            {"chosen": "q: a then b", "rejected": "q: a that c"},
            Example(prompt="q: a", chosen=" then b", rejected=" that c"),
        ),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: the x", "rejected": "\n\nHuman: a\n\nAssistant: the y"},
            Example(prompt="\n\nHuman: a\n\nAssistant:", chosen=" the x", rejected=" the y"),
        ),
        ({"prompt": "a", "completion": "b", "label": False}, Example(prompt="a", completion="b", label=False)),
        ({"prompt": "a", "completion": None, "level": None}, Example(prompt="a", columns={"level": None})),
        ({"prompt": "a", "answer": None}, Example(prompt="a")),
        ({"prompt": "a", "answer": 7.0}, Example(prompt="a", answer="7")),
        ({"prompt": "a", "answer": 0.1}, Example(prompt="a", answer="0.1")),
    ],
)
def test_rows_become_examples_by_the_names_that_trl_users_know(row: dict[str, Any], expected: Example) -> None:
    assert example(row, "x:1") == expected


def test_columns_are_mapped_and_one_column_may_serve_twice() -> None:
    row = {"question": "a", "answer": "b #### 7", "kind": 1}
    mapped = example(row, "x:1", {"prompt": "question", "completion": "answer", "answer": "answer"})
    assert mapped == Example(prompt="a", completion="b #### 7", answer="b #### 7", columns={"kind": 1})
    assert example(row, "x:1", {"prompt": "answer", "answer": "question"}).answer == "a"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "none of the columns prompt, messages, text"),
        ({"question": "a"}, r"it has question\. Map yours in the recipe"),
        ({"promt": "a", "completion": "b"}, "column 'promt': did you mean 'prompt'"),
        ({"prompt": "a", "completions": "b"}, "column 'completions': did you mean 'completion'"),
        ({"Prompt": "a"}, "column 'Prompt': did you mean 'prompt'"),
        ({"completion": "b"}, "none of the columns prompt"),
        ({"prompt": 7}, r"prompt is 7 \(int\): it must be text, or a list of messages"),
        ({"text": ["a"]}, r"text is \['a'\] \(list\): it must be text"),
        ({"text": ""}, "text is empty"),
        ({"prompt": "a", "answer": ["7"]}, r"answer is \['7'\] \(list\): it must be text or a number"),
        ({"prompt": "a", "answer": True}, r"answer is True \(bool\)"),
        ({"prompt": "a", "answer": float("nan")}, r"answer is nan"),
        ({"prompt": "a", "completion": "b", "label": "true"}, r"label is 'true' \(str\): it must be true or false"),
        ({"prompt": "a", "completion": "b", "label": "yes"}, r"label is 'yes' \(str\): it must be true or false"),
        ({"prompt": "a", "chosen": "b"}, "no column 'rejected': a preference pair needs both"),
        ({"chosen": "a", "rejected": "b"}, "no common beginning: add a column 'prompt'"),
        ({"messages": []}, "must be a list of messages"),
        ({"messages": ["a"]}, r"messages\[0\] is 'a' \(str\): a message has a role and a content"),
        ({"messages": [{"role": "asistant", "content": "a"}]}, "unknown role 'asistant': did you mean 'assistant'"),
        ({"messages": [{"role": "user", "content": None}]}, "no content but null"),
        ({"prompt": [USER], "completion": [USER, BOT]}, "begins with a message of role user: it must be the assistant"),
    ],
)
def test_rows_that_cannot_be_examples_are_refused_by_their_place(row: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=r"(?s)^data\.jsonl:3.*" + words):
        example(row, "data.jsonl:3")


def test_a_prompt_may_be_made_of_several_columns() -> None:
    row = {"ID": "c-1", "Body": "Ann has {3} pens.", "Question": "How many?", "n": 3.0}
    made = example(row, "x:1", {"prompt": "{Body} {Question}", "answer": "n"})
    assert (made.prompt, made.answer) == ("Ann has {3} pens. How many?", "3")
    assert made.columns.keys() == {"ID", "Body", "Question"}
    with pytest.raises(ValueError, match="unknown column 'Boddy': did you mean 'Body'"):
        example(row, "x:1", {"prompt": "{Boddy}"})


def test_a_mapped_column_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="columns says prompt = 'questoin'.*did you mean 'question'"):
        example({"question": "a"}, "x:1", {"prompt": "questoin"})


def test_a_column_that_only_looks_misspelt_may_be_kept() -> None:
    assert example({"prompt": "a", "answers": [1]}, "x:1", {"answers": "answers"}).columns == {"answers": [1]}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['{"prompt": "a"}', "", '{"prompt": "b"'], r"data\.jsonl:3: not valid JSON: .* at column"),
        (['{"prompt": "a"}', "[1]"], r"data\.jsonl:2: a list instead of an object"),
        (['{"prompt": "a"}', '{"prompt": 3}'], r"data\.jsonl:2: prompt is 3"),
        ([], "has no rows"),
        (['{"prompt": "a", "id": "x"}', '{"prompt": "b", "id": "x"}'], r"data\.jsonl:2: the id 'x' was there before"),
    ],
)
def test_files_that_cannot_be_read_are_refused_by_file_and_line(lines: list[str], words: str, write: Write) -> None:
    with pytest.raises(ValueError, match=words):
        make(write(lines))


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"prompt": "a"}\n{"prompt": "\xff"}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl:2: not UTF-8 at byte 13"):
        make(str(tmp_path / "a.jsonl"))


def test_parquet_and_hub_rows_are_the_same_as_jsonl_rows(tmp_path: Path, write: Write) -> None:
    pa.parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "d.parquet")
    (tmp_path / "hub").mkdir()
    pa.parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "hub" / "train.parquet")
    expected = every(make(write(ROWS)))
    for spec in (
        {"name": "parquet", "path": str(tmp_path / "d.parquet")},
        {"name": "hub", "path": str(tmp_path / "hub")},
    ):
        got = every(tasks.make(spec))
        assert {e.id: e for e in got} == {e.id: e for e in expected}


def test_a_broken_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ValueError, match=r"x\.parquet: not a readable Parquet file"):
        tasks.make({"name": "parquet", "path": str(tmp_path / "x.parquet")})


def test_splits_never_meet_and_cover_all_rows_in_their_shares(write: Write) -> None:
    task = make(write(ROWS))
    found = {split: {question(e) for e in task.examples(split, 10**6)} for split in SPLITS}
    assert sum(map(len, found.values())) == len(set().union(*found.values())) == 400
    for split, share in SHARES.items():
        assert abs(len(found[split]) / 400 - share) < 0.06


def test_rows_that_ask_the_same_stay_together_with_ids_of_their_own(write: Write) -> None:
    rows = [{"prompt": f"p{i % 50}", "completion": f"c{i}"} for i in range(200)] + [
        {"prompt": "p0", "completion": "c0"}
    ]
    task = make(write(rows))
    assert len({e.id for e in every(task)}) == 201
    homes = [{e.prompt for e in task.examples(split, 999)} for split in SPLITS]
    assert sum(map(len, homes)) == 50


def test_item_i_depends_on_seed_and_split_only(write: Write) -> None:
    task = make(write(ROWS))
    many = task.examples("train", 50, seed=3)
    assert task.examples("train", 10, seed=3) == many[:10] == make(write(ROWS[::-1])).examples("train", 10, seed=3)
    assert task.examples("train", 50, seed=4) != many


def test_shares_are_the_users(write: Write) -> None:
    task = make(write(ROWS), shares={"train": 1, "test": 1})
    assert not task.examples("keep", 9) and 150 < len(task.examples("test", 999)) < 250


def test_files_may_be_given_a_split_and_overlap_is_refused_or_dropped(write: Write) -> None:
    files = {"train": write(ROWS[:10], "a.jsonl"), "test": write(ROWS[8:20], "b.jsonl")}
    with pytest.raises(ValueError, match=r"2 rows of split 'test' are also in 'train'"):
        tasks.make({"name": "jsonl", "files": files})
    task = tasks.make({"name": "jsonl", "files": files, "overlap": "drop"})
    assert [len(task.examples(s, 99)) for s in SPLITS] == [10, 0, 0, 10]


def test_an_answer_is_cut_out_of_a_longer_text(write: Write) -> None:
    rows = [{"question": "a", "answer": "2 * 3 = 6\n#### 6"}]
    task = make(write(rows), columns={"prompt": "question", "answer": "answer"}, answer_pattern="#### (.+)")
    assert every(task)[0].answer == "6"
    with pytest.raises(ValueError, match=r"data\.jsonl:1: answer_pattern '@@ \(\.\)' is not in the answer"):
        make(write(rows), columns={"prompt": "question"}, answer_pattern="@@ (.)")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"verfy": "exact"}, "unknown key 'verfy': did you mean 'verify'"),
        ({"verify": "exakt"}, "unknown verifier 'exakt': did you mean 'exact'"),
        ({"shares": {"trian": 1}}, "shares names trian: the splits are train, tune, keep, test"),
        ({"shares": {"train": -1}}, "must be numbers of 0 or more"),
        ({"files": {"dev": "x"}}, "files names dev"),
        ({"files": {"train": "x"}, "shares": {"train": 1}}, "exclude each other"),
        ({"overlap": "keep"}, "must be 'refuse' or 'drop'"),
    ],
)
def test_keys_that_make_no_sense_are_refused(options: dict[str, Any], words: str, write: Write) -> None:
    with pytest.raises(ValueError, match=words):
        make(write(ROWS[:3]), **options)


def test_a_data_set_without_verifier_says_how_to_get_one(write: Write) -> None:
    task = make(write(ROWS))
    with pytest.raises(ValueError, match='add verify = "exact"'):
        task.score("1", every(task)[0])


def test_own_answers_score_one(write: Write) -> None:
    for verify in "exact", "contains", "math-verify", {"name": "pattern", "pattern": r"(-?\d+)"}:
        task = make(write(ROWS[:20]), verify=verify)
        assert all(task.score(e.answer or "", e) == 1.0 and task.score("-5", e) == 0.0 for e in every(task))


def test_the_hash_that_divides_is_the_same_everywhere() -> None:
    """Golden: made by this very line; a change would move users' test items into their training data."""
    assert [split_of(f"item {i}") for i in range(8)] == [
        "train",
        "keep",
        "train",
        "train",
        "train",
        "keep",
        "train",
        "tune",
    ]
