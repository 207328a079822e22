"""Rows of files or of a hub data set, each with its place for messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from scalpel.runs.files import existing, nearest
from scalpel.tasks.packed import beginning, encoding_of, packing
from scalpel.tasks.strict_json import json_file, jsonl
from scalpel.tasks.table_files import arrow, csv_file, parquet

Located = tuple[str, Mapping[str, Any]]  # the place of the row ("data.jsonl:17"), and the row
BINARY = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow"}
NAMES = {"jsonl": "JSONL", "json": "JSON", "csv": "CSV", "parquet": "Parquet", "arrow": "Arrow"}
ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv"}
PACKED = (".gz", ".bz2", ".xz", ".zst")


def kind(path: str) -> str:
    """The format of a file by its content; by its name where the content fits two formats. Empty if it is unknown."""
    if Path(path).expanduser().is_dir():
        return "arrow"
    head = beginning(path)
    for magic, name in BINARY.items():
        if head.startswith(magic):
            return name
    text = head.decode(encoding_of(head), errors="replace").lstrip("\ufeff").lstrip()
    endings = [e for e in Path(path).suffixes if e not in PACKED]
    ending = ENDINGS.get(endings[-1].lower() if endings else "", "")
    if text.startswith("["):
        return "jsonl" if ending == "jsonl" else "json"
    if text.startswith("{"):
        return "jsonl" if ending == "jsonl" or one_a_line(text) else "json"
    line = text.partition("\n")[0]
    return "csv" if line and "\ufffd" not in line and "\x00" not in line else ""


def one_a_line(text: str) -> bool:
    """Whether the text looks like JSONL: its first line is a complete object, and not a single object of columns."""
    first, _, more = text.partition("\n")
    try:
        row = json.loads(first)
    except ValueError:
        return more.lstrip().startswith("{") and "}" in first
    return bool(more.strip()) or not any(isinstance(v, list) for v in row.values()) or "messages" in row


def agreed(form: str, path: str) -> str:
    """The format to read: the named one, with a ValueError if the file clearly has another; "file" detects it."""
    found = kind(path)
    packed = "" if Path(path).expanduser().is_dir() else packing(existing(path))
    folder = " (a folder can only be a data set that the data sets library saved)"
    noted = f" ({packed}-compressed)" if packed else folder if Path(path).expanduser().is_dir() else ""
    shown = NAMES.get(found, "no data file that is known") + noted
    if form == "file":
        if not found:
            raise ValueError(f"{path} is {shown}: known are {', '.join(NAMES.values())}, compressed or not")
        return found
    texts = {"jsonl", "json", "csv"}
    empty = not found and form in texts  # its reader says what is wrong
    if found != form and not empty and not ({found, form} <= texts and not (form == "csv" and found != "csv")):
        raise ValueError(
            f'{path} is {shown}, not {NAMES[form]}: say name = "{found or "…"}", or name = "file", which goes by '
            "what is in a file"
        )
    return form


def files_of(path: str | Sequence[str]) -> list[str]:
    """The files of a path, a pattern such as "data/*.jsonl", or a list of both, each once."""
    found: list[str] = []
    for one in [path] if isinstance(path, str) else path:
        if has_magic(one) and not Path(one).expanduser().exists():
            matching = sorted(glob(str(Path(one).expanduser()), recursive=True))
            if not matching:
                raise ValueError(f"no file matches {one}: {nearest(Path(one.partition('*')[0] or '.'))}")
            found += [name for name in matching if Path(name).is_file()]
        else:
            found.append(one)
    if not found:
        raise ValueError(f"path is {path!r}: give a file, a pattern, or a list of at least one")
    return list(dict.fromkeys(found))


def rows_of(form: str, path: str | Sequence[str]) -> Iterator[Located]:
    """The rows of all files, one file after the other."""
    for file in files_of(path):
        yield from FILES[agreed(form, file)](file)


def hub(path: str, subset: str | None = None, split: str = "train") -> Iterator[Located]:
    """The rows of one split of a hub data set, or of a folder that the data sets library can read."""
    from datasets import load_dataset

    try:
        data = load_dataset(path, subset, split=split)
    except (OSError, ValueError) as error:  # its own errors derive from these
        raise ValueError(
            f"can't load split {split!r} of the data set {path!r}"
            f"{f' ({subset})' if subset else ''}: {str(error).split(chr(10))[0]}"
        ) from error
    for number, row in enumerate(data, 1):
        yield f"{path}[{split}]: row {number}", row


FILES: dict[str, Callable[[str], Iterator[Located]]] = {
    "jsonl": jsonl, "json": json_file, "csv": csv_file, "parquet": parquet, "arrow": arrow,
}  # fmt: skip
FORMS = ("file", *FILES, "hub")
