"""Rows of a file or a hub data set, each with the words that say where it stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from scalpel.folders import existing

Located = tuple[str, Mapping[str, Any]]  # where the row stands ("data.jsonl:17"), and the row


def jsonl(path: str) -> Iterator[Located]:
    """One JSON object a line; empty lines are skipped. A fault is raised with file, line and what is wrong."""
    with existing(path).open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            where = f"{path}:{number}"
            if not raw.strip():
                continue
            try:
                row = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise ValueError(f"{where}: not UTF-8 at byte {error.start + 1}: save the file as UTF-8") from None
            except json.JSONDecodeError as error:
                raise ValueError(f"{where}: not valid JSON: {error.msg} at column {error.colno}") from None
            if not isinstance(row, dict):
                raise ValueError(
                    f"{where}: a {type(row).__name__} instead of an object: each line must be one "
                    'JSON object, such as {"prompt": "…", "completion": "…"}'
                )
            yield where, row


def parquet(path: str) -> Iterator[Located]:
    """The rows of a Parquet file, numbered from 1."""
    from pyarrow import ArrowException, ArrowInvalid
    from pyarrow.parquet import ParquetFile

    file = existing(path)
    try:
        batches = ParquetFile(file).iter_batches(batch_size=1024)
        rows = (row for batch in batches for row in batch.to_pylist())
        for number, row in enumerate(rows, 1):
            yield f"{path}: row {number}", row
    except (ArrowInvalid, ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file: {str(error).splitlines()[0]}") from error


def hub(path: str, subset: str | None = None, split: str = "train") -> Iterator[Located]:
    """The rows of one split of a hub data set, or of a folder that the data sets library can read."""
    from datasets import load_dataset

    try:
        data = load_dataset(path, subset, split=split)
    except (OSError, ValueError) as error:  # its own errors derive from these
        raise ValueError(
            f"can't load split {split!r} of the data set {path!r}"
            f"{f' ({subset})' if subset else ''}: {str(error).splitlines()[0]}"
        ) from error
    for number, row in enumerate(data, 1):
        yield f"{path}[{split}]: row {number}", row


READERS: dict[str, Callable[..., Iterator[Located]]] = {"jsonl": jsonl, "parquet": parquet, "hub": hub}
