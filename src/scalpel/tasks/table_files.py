"""Rows of table files: CSV and TSV, Parquet, and Arrow files, streams and folders."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalpel.runs.files import existing, listed
from scalpel.tasks.columns import Cell
from scalpel.tasks.packed import beginning, lines, packing, unpacked

if TYPE_CHECKING:
    import pyarrow

Located = tuple[str, Mapping[str, Any]]
AT_ONCE = 1024  # rows
DELIMITERS = (",", "\t", ";")


def csv_file(path: str) -> Iterator[Located]:
    """The rows below the header; an empty cell is null. The delimiter is the one that the header has: comma, tab or
    semicolon. A row is named by the line on which it begins, since a quoted cell may span several lines."""
    csv.field_size_limit(2**31 - 1)
    numbered = lines(path)
    head = next((line for _, line in numbered if line.strip()), "")
    delimiter = max(DELIMITERS, key=head.count)
    reader = csv.reader((line for _, line in lines(path)), delimiter=delimiter, strict=True)
    names: list[str] = []
    begins = 1
    try:
        for cells in reader:
            where, begins = f"{path}:{begins}", reader.line_num + 1
            if not cells:
                continue
            if not names:
                names = header(cells, where)
                continue
            if len(cells) != len(names):
                raise ValueError(
                    f"{where}: {len(cells)} cells under a header of {len(names)} ({', '.join(names)}): quote cells in "
                    f"which {delimiter!r} or a line's end occurs"
                )
            yield where, {name: Cell(cell) if cell else None for name, cell in zip(names, cells, strict=True)}
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: not valid CSV: {error}") from None


def header(cells: list[str], where: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{where}: the column {twice!r} is there twice in the header: rename or remove one")
    if "" in names:
        raise ValueError(f"{where}: column {names.index('') + 1} of the header has no name: name or remove it")
    return names


def parquet(path: str) -> Iterator[Located]:
    """The rows of a Parquet file, numbered from 1."""
    from pyarrow.parquet import ParquetFile

    with readable(path, "Parquet"), opened(path) as source:
        yield from numbered(ParquetFile(source).iter_batches(batch_size=AT_ONCE), path, 1)


def arrow(path: str) -> Iterator[Located]:
    """The rows of an Arrow file or stream, or of a folder that the data sets library has saved."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        with readable(path, "Arrow"):
            yield from numbered(batches(path), path, 1)
        return
    number = 1
    for name in saved_files(folder):
        part = str(folder / name)
        with readable(part, "Arrow"):
            for where, row in numbered(batches(part), part, 1):
                yield where, row
                number += 1


def saved_files(folder: Path) -> list[str]:
    """The files of a data set that was saved to a folder, in order."""
    if (folder / "dataset_dict.json").is_file():
        splits = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8")).get("splits", [])
        raise ValueError(
            f"{folder} holds the splits {', '.join(splits)}: give one of them, as in path = "
            f'"{folder / (splits or ["train"])[0]}", or several under files'
        )
    if not (folder / "state.json").is_file():
        raise ValueError(f"{folder} is a folder, and no saved data set (no state.json): it holds {listed(folder)}")
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return [entry["filename"] for entry in state["_data_files"]]


def batches(path: str) -> Iterator[pyarrow.RecordBatch]:
    from pyarrow import ipc

    with opened(path) as source:
        if beginning(path, 6) == b"ARROW1":
            file = ipc.open_file(source)
            yield from (file.get_batch(i) for i in range(file.num_record_batches))
        else:
            yield from ipc.open_stream(source)


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """The input for Arrow: the file, or its decompressed bytes. The file isn't memory-mapped: if a damaged file has
    buffers beyond its end, reading them from a map would end the process with a bus error."""
    import pyarrow

    file = existing(path)
    if packing(file):
        with unpacked(path) as stream:
            yield io.BytesIO(stream.read())
    else:
        with pyarrow.OSFile(str(file)) as source:
            yield source


@contextmanager
def readable(path: str, kind: str) -> Iterator[None]:
    """Raises Arrow's errors as ValueErrors that name the file."""
    from pyarrow import ArrowException

    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: a text in it is not UTF-8 ({error.reason}): write the file again") from None
    except (ArrowException, OSError, EOFError) as error:
        raise ValueError(f"{path}: not a readable {kind} file: {str(error).split(chr(10))[0]}") from error


def numbered(found: Iterator[pyarrow.RecordBatch], path: str, number: int) -> Iterator[Located]:
    for batch in found:
        batch.validate(full=True)  # offsets of a damaged file may point anywhere
        for start in range(0, batch.num_rows, AT_ONCE):
            for row in batch.slice(start, AT_ONCE).to_pylist():
                yield f"{path}: row {number}", {name: unpadded(value) for name, value in row.items()}
                number += 1


def unpadded(value: Any, message: bool = False) -> Any:
    """Messages without the nulls with which Arrow pads every struct to the union of all fields. In other nested values
    a null may be intended, and is kept."""
    if isinstance(value, list):
        return [unpadded(item, message) for item in value]
    if isinstance(value, dict) and (message or "role" in value):
        return {name: unpadded(item, True) for name, item in value.items() if item is not None}
    return value
