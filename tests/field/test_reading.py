"""Any honest file of data is read as it stands, and every refusal names file, line and what is wrong."""

import bz2
import csv
import gzip
import json
import lzma
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest

from scalpel import tasks
from scalpel.data.example import Example

ROWS = [{"prompt": f"Größe {i}?", "completion": f"{i} µm\r\nor so 🙂", "answer": i} for i in range(5)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def read(path: Path, name: str = "file", **options: Any) -> list[Example]:
    task = tasks.make({"name": name, "path": str(path), "shares": {"train": 1}, **options})
    return sorted(task.examples("train", 10**6), key=lambda e: (len(e.where), e.where))


def refused(path: Path, name: str = "file", **options: Any) -> str:
    with pytest.raises(ValueError) as error:
        read(path, name, **options)
    words = str(error.value)
    assert path.name in words and "\n" not in words
    return words


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def table() -> pa.Table:
    return pa.Table.from_pylist(ROWS)


def stored(kind: str, path: Path) -> None:
    """The rows in one of the formats."""
    if kind == "json":
        path.write_text(json.dumps(ROWS, indent=2), encoding="utf-8")
    elif kind == "data":
        path.write_text(json.dumps({"version": "1", "data": ROWS}), encoding="utf-8")
    elif kind == "columns":
        path.write_text(json.dumps({k: [row[k] for row in ROWS] for k in ROWS[0]}), encoding="utf-8")
    elif kind in ("csv", "tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(ROWS[0]), delimiter="," if kind == "csv" else "\t")
            writer.writeheader()
            writer.writerows(ROWS)
    elif kind == "parquet":
        pa.parquet.write_table(table(), path)
    elif kind in ("arrow", "stream"):
        make = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with make(str(path), table().schema) as out:
            out.write_table(table(), max_chunksize=2)
    else:
        path.write_text(LINES, encoding="utf-8")


PACK = {"": lambda b: b, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("packed", list(PACK))
@pytest.mark.parametrize("kind", ["jsonl", "json", "data", "columns", "csv", "tsv", "parquet", "arrow", "stream"])
def test_a_file_is_read_by_what_is_in_it(kind: str, packed: str, tmp_path: Path) -> None:
    stored(kind, plain := tmp_path / "plain")
    path = written(tmp_path / f"rows.{kind}{packed}", PACK[packed](plain.read_bytes()))
    found = read(path)
    assert [(e.prompt, e.completion, e.answer) for e in found] == [
        (row["prompt"], row["completion"], str(row["answer"])) for row in ROWS
    ]
    assert all(e.where.startswith(str(path)) for e in found)


def test_zstandard_and_names_that_say_nothing(tmp_path: Path) -> None:
    with pa.CompressedOutputStream(str(tmp_path / "rows"), "zstd") as out:
        out.write(LINES.encode())
    assert len(read(tmp_path / "rows")) == len(read(tmp_path / "rows", "jsonl")) == 5


def test_a_folder_that_the_data_sets_library_saved(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list(ROWS)
    data.save_to_disk(tmp_path / "one", num_shards=2)
    assert len(read(tmp_path / "one")) == 5
    datasets.DatasetDict(train=data, test=data).save_to_disk(tmp_path / "both")
    assert "holds the splits train, test" in refused(tmp_path / "both")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_byte_order_marks_and_the_ends_of_windows_lines(kind: str, encoding: str, tmp_path: Path) -> None:
    stored(kind, tmp_path / "plain")
    text = (tmp_path / "plain").read_bytes().decode()
    if kind == "jsonl":
        text = text.replace("\n", "\r\n") + "\r\n"
    found = read(written(tmp_path / f"a.{kind}", text.encode(encoding)), kind)
    assert [e.completion for e in found] == [row["completion"] for row in ROWS]


A = '{"prompt": "a", "completion": "b"}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f'{A}\n{{"prompt": "c", "completion": "1", "completion": "2"}}', ":2: the key 'completion' is there twice"),
        (f'{A}\n{{"prompt": "c", "m": {{"x": 1, "x": 2}}}}', ":2: the key 'x' is there twice"),
        (f'{A}\n\n{{"prompt": "c", "weight": NaN}}', ":3: NaN is no JSON"),
        ('{"prompt": "c", "weight": -Infinity}', ":1: -Infinity is no JSON"),
        ('{"prompt": "c", "weight": 1e999}', ":1: the number 1e999 is too large"),
        ('{"prompt": "c", "weight": ' + "9" * 5000 + "}", ":1: a number can't be read"),
        ('{"prompt": ' + "[" * 100_000, ":1: objects or lists are nested too deeply"),
        (f'{A}\n{{"prompt": "c", "completion": "x \\ud83d"}}', ":2: completion holds half a character"),
        ('{"prompt": [{"role": "user", "content": "\\udc00"}]}', ":1: prompt[0].content holds half a character"),
        ('{"prompt": "c", "\\ud800": 1}', ":1: a key holds half a character"),
        (f'{A}\n{{"prompt": "c",}}', ":2: not valid JSON: "),
        (f"{A} {A}", ":1: not valid JSON: more text after the first value, at column 35"),
        (f"{A}\r{A}", "its lines seem to end with CR alone"),
        (f"{A}\n[1]", ":2: a list instead of an object"),
        (f"[{A}]", ':1: a list instead of an object: each line must be one JSON object, such as {"prompt": '),
        (f"{A}\n7", ":2: a number instead of an object"),
        ('{"promt": "a", "completion": "b"}', ":1: column 'promt': did you mean 'prompt'?"),
        ('{"Prompt": "a", "Completion": "b"}', ":1: column 'Prompt': did you mean 'prompt'?"),
        ('{"prompt": "a", "answer": true}', ":1: answer is True (bool)"),
        ('{"prompt": "a", "label": "true"}', ":1: label is 'true' (str)"),
        ('{"id": 1, "prompt": "a"}\n{"id": "1", "prompt": "b"}', ":2: the id '1' was there before, in "),
        (A.encode("utf-16-le"), ":1: bytes of zero between the letters, as UTF-16 without a byte order mark"),
        (A.encode() + b'\n{"prompt": "\xe9"}', ":2: not UTF-8 at byte 13"),
        ("", " has no rows"),
        ("\n \n", " has no rows"),
    ],
)
def test_a_line_that_can_be_no_row_is_named(content: str | bytes, words: str, tmp_path: Path) -> None:
    assert words in refused(written(tmp_path / "bad.jsonl", content), "jsonl")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("json", f"[{A},\n{A[:-1]},}}]", ":2: not valid JSON: "),
        ("json", f"[{A},\n{A},\n]", ":3: not valid JSON: Expecting value"),
        ("json", f"[{A}\n{A}]", ":2: not valid JSON: Expecting ',' or ']' at column 1"),
        ("json", f"[{A},\n 7]", ":2: a number in the list"),
        ("json", f"[{A}] x", ": more text after the list: 'x'"),
        ("json", f"{A}\n{A}", ':2: more text after the first value: where each line is an object of its own, say name'),
        ("json", '{"a": [1], "b": [1, 2]}', "in which no rows are found"),
        ("json", f'{{"a": [{A}], "b": [{A}]}}', ": row 1: none of the columns"),
        ("json", "[]", " has no rows"),
        ("csv", "prompt,completion\na,b\nc\n", ":3: 1 cells under a header of 2"),
        ("csv", "prompt,prompt\na,b\n", ":1: the column 'prompt' is there twice"),
        ("csv", "prompt,,answer\na,b,c\n", ":1: column 2 of the header has no name"),
        ("csv", 'prompt,answer\na,"b\n', "not valid CSV"),
        ("parquet", b"PAR1 nothing", ": not a readable Parquet file"),
        ("arrow", b"ARROW1 nothing", ": not a readable Arrow file"),
        ("file", b"\x00\x01\x02\xff", "no data file that is known"),
        ("jsonl", gzip.compress(LINES.encode() * 99, mtime=0)[:-40], ": the gzip data are damaged or cut short"),
        ("jsonl", gzip.compress(b"x", mtime=0)[:8], ": the gzip data are damaged or cut short"),
    ],
)  # fmt: skip
def test_a_file_that_can_not_be_read_is_named(name: str, content: str | bytes, words: str, tmp_path: Path) -> None:
    assert words in refused(written(tmp_path / f"bad.{name}", content), name)


def test_a_format_that_is_not_the_files_own_is_refused_with_its_own(tmp_path: Path) -> None:
    for kind in ("jsonl", "parquet", "arrow", "csv"):
        stored(kind, tmp_path / f"rows.{kind}")
    assert 'is Parquet, not JSONL: say name = "parquet"' in refused(tmp_path / "rows.parquet", "jsonl")
    assert 'is JSONL, not Parquet: say name = "jsonl"' in refused(tmp_path / "rows.jsonl", "parquet")
    assert "is Arrow, not CSV" in refused(tmp_path / "rows.arrow", "csv")
    assert "is JSONL, not CSV" in refused(tmp_path / "rows.jsonl", "csv")
    packed = written(tmp_path / "rows.jsonl.gz", gzip.compress(LINES.encode()))
    assert "is JSONL (gzip-compressed), not Parquet" in refused(packed, "parquet")


def test_a_null_is_no_value_and_rewards_see_none(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}", "completion": "x", "answer": None, "note": None} for i in range(3)]
    lines = [json.dumps(row) for row in [*rows, {"prompt": "last", "completion": "y", "answer": "7", "note": "n"}]]
    found = read(written(tmp_path / "nulls.jsonl", "\n".join(lines)), verify="exact")
    assert [e.answer for e in found] == [None, None, None, "7"]
    assert [e.columns["note"] for e in found] == [None, None, None, "n"]
    task = tasks.make(
        {"name": "jsonl", "path": str(tmp_path / "nulls.jsonl"), "shares": {"train": 1}, "verify": "exact"}
    )
    with pytest.raises(ValueError, match=r"nulls\.jsonl:1 has no reference answer"):
        task.score("7", found[0])


def test_labels_and_numbers_of_a_file_that_knows_only_text(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "prompt,completion,label,answer\na,b,true,7\nc,d,0,\n")
    assert [(e.label, e.answer) for e in read(path)] == [(True, "7"), (False, None)]


def test_nested_values_keep_their_kinds_and_lose_the_padding_of_messages(tmp_path: Path) -> None:
    message = pa.struct([("role", pa.string()), ("content", pa.string()), ("name", pa.string())])
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    columns = {
        "messages": pa.array([turns], pa.list_(message)),
        "meta": pa.array([{"a": 1, "b": None}]),
        "kind": pa.array(["x"]).dictionary_encode(),
        "price": pa.array([Decimal("1.10")]),
        "nothing": pa.nulls(1),
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    (row,) = read(tmp_path / "a.parquet")
    assert row.messages is not None and all("name" not in m for m in row.messages)
    assert row.columns == {"meta": {"a": 1, "b": None}, "kind": "x", "price": Decimal("1.10"), "nothing": None}


def test_several_files_by_list_and_pattern(tmp_path: Path) -> None:
    for i, row in enumerate(ROWS):
        written(tmp_path / f"part-{i}.jsonl", json.dumps(row) + "\n")
    assert len(read(tmp_path / "part-*.jsonl")) == 5
    task = tasks.make({"name": "file", "path": [str(tmp_path / "part-0.jsonl"), str(tmp_path / "part-[12].jsonl")]})
    assert task.account.given == 3  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"no file matches .*prat-\*\.jsonl"):
        tasks.make({"name": "file", "path": str(tmp_path / "prat-*.jsonl")})


def test_rows_that_can_not_be_read_are_left_out_where_that_is_said(tmp_path: Path) -> None:
    lines = [A, '{"prompt": 7}', '{"prompt": "x", "completion": "y"}', '{"prompt": 8}', '{"answer": "z"}']
    path = written(tmp_path / "some.jsonl", "\n".join(lines))
    task = tasks.make({"name": "jsonl", "path": str(path), "faulty": "drop", "shares": {"train": 1}})
    account = task.account  # type: ignore[attr-defined]
    assert (account.given, account.readable, account.splits["train"]) == (5, 2, 2)
    assert {reason: (x.count, x.first) for reason, x in account.left_out.items()} == {
        "prompt": (2, f"{path}:2"),
        "none of the columns prompt, messages, text, or chosen and rejected; it has answe": (1, f"{path}:5"),
    }
