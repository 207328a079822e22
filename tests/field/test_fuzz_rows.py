"""Rows with anything in any column, and files with any bytes: read and rendered, or refused with file and line.

FUZZ=5000 in the environment tries that many of each.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

import tiny
from scalpel.data.tokenizer import Tokens
from scalpel.tasks import make

TOKENS = Tokens(tiny.tokenizer())
EXAMPLES = settings(
    max_examples=int(os.environ.get("FUZZ", "120")),
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)

COLUMNS = (
    "text", "messages", "conversations", "prompt", "completion", "answer", "solution", "chosen", "rejected", "label",
    "id", "tools", "chat_template_kwargs", "note", "Prompt",
)  # fmt: skip
KEYS = ("role", "content", "from", "value", "tool_calls", "weight", "name", "reasoning_content", "type", "text")
WORDS = st.one_of(
    st.sampled_from(
        ["user", "assistant", "system", "tool", "human", "gpt", "", " ", "a", "</s>", "<|end|>", "\0", "\u2028", "\x85",
         "\ud800", "\U0001f600", "é", "{", "[]", "{{ x }}", "text", "image", "true", "1"]
    ),
    st.text(max_size=6),
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**20), st.floats(), st.sampled_from([0, 1, 7.0, 1e300]), WORDS
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(KEYS), WORDS), inner, max_size=4)
    ),
    max_leaves=8,
)
MESSAGE = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3).flatmap(
    lambda more: st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": st.one_of(WORDS, VALUES)}
    ).map(lambda plain: {**more, **plain})
)
CELLS = st.one_of(WORDS, VALUES, st.lists(MESSAGE, min_size=1, max_size=4))
ROWS = st.dictionaries(st.sampled_from(COLUMNS), CELLS, min_size=1, max_size=4)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "rows.jsonl"


def used(file: Path, **options: Any) -> None:
    """Reads the file and renders all that training would; what can't be is refused in words that name file and line."""
    try:
        rows = make({"name": "jsonl", "path": str(file), "shares": {"train": 1}, **options}).examples("train", 1000)
    except ValueError as error:
        assert str(file) in str(error), f"without the file: {error}"
        return
    for row in rows:
        assert row.where.startswith(str(file))
        try:
            if row.chosen is not None:
                TOKENS.pair(row)
            elif row.completion is not None or row.messages is not None:
                for rendered in TOKENS.demonstrations(row):
                    assert len(rendered.ids) == len(rendered.train) == len(rendered.turn)
            else:
                TOKENS.prompt(row.prompt)
        except ValueError as error:
            assert str(error).strip()


@given(st.lists(ROWS, min_size=1, max_size=3))
@example([{"messages": [{"role": "user", "content": None}, {"role": "assistant", "content": ""}]}])
@example([{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": ["\ud800"]}]}])
@example([{"conversations": [{"from": "human", "value": 3}]}])
@example([{"chosen": "ab", "rejected": "ab"}])
@EXAMPLES
def test_any_row_is_used_or_refused_with_its_place(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    used(file)


GOOD = b"".join(
    json.dumps(row, ensure_ascii=False).encode() + b"\n"
    for row in (
        {"prompt": "one é", "completion": "two", "answer": 7},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"text": "three\u2028four"},
    )
)


@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=4))
@example([(0, len(GOOD), b"")])
@example([(0, 0, b"\xff\xfe")])
@example([(0, 0, b"\x1f\x8b\x08")])
@EXAMPLES
def test_any_bytes_are_read_or_refused_with_the_file(file: Path, changes: list[tuple[int, int, bytes]]) -> None:
    raw = bytearray(GOOD)
    for at, gone, new in changes:
        raw[at : at + gone] = new
    file.write_bytes(raw)
    used(file)
    used(file, name="file")


def tables(kind: str) -> bytes:
    """A good file of that kind."""
    columns = {"prompt": ["one é", "two"], "completion": ["a", "b"], "answer": ["1", "2"]}
    if kind == "csv":
        return 'prompt,completion,answer\r\none é,a,1\r\n"two\n",b,2\r\n'.encode()
    if kind == "gz":
        return gzip.compress(GOOD, mtime=0)
    table, raw = pyarrow.table(columns), io.BytesIO()
    if kind == "parquet":
        parquet.write_table(table, raw)
    else:
        with pyarrow.ipc.new_file(raw, table.schema) as writer:
            writer.write_table(table)
    return raw.getvalue()


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow", "gz"])
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), st.binary(max_size=6)), min_size=1, max_size=4))
@settings(EXAMPLES, max_examples=int(os.environ.get("FUZZ", "40")))
def test_any_bytes_of_a_table_are_read_or_refused_with_the_file(
    file: Path, kind: str, changes: list[tuple[float, int, bytes]]
) -> None:
    raw = bytearray(tables(kind))
    for at, gone, new in changes:
        place = int(at * len(raw))
        raw[place : place + gone] = new
    named = file.with_name("rows.jsonl.gz" if kind == "gz" else f"rows.{kind}")
    named.write_bytes(raw)
    used(named, name="jsonl" if kind == "gz" else "file")
