"""Reads and writes the JSON files of a run. Errors name the file, and what is wrong in one that was cut short, damaged
or edited."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from scalpel.runs.atomic import write_text

Record = TypeVar("Record")
NUMBER = (int, float)
OPTIONAL_NUMBER = (int, float, type(None))
DAMAGED = "the file is damaged, or was changed by hand or by another version: restore it, or run again"
NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_text(path: Path, mend: str = DAMAGED) -> str:
    """The text of a UTF-8 file. Raises ValueError that names it if it is missing, a folder or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: it belongs to a finished run; was the run stopped early?") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, but must be a file: {mend}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 at byte {error.start + 1}: {mend}") from None


def decoded(text: str, where: str, mend: str = DAMAGED) -> Any:
    """The JSON value of a text. Raises ValueError that names `where` the text is from."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        empty = "it is empty" if not text.strip() else f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise ValueError(f"{where} is not JSON ({empty}): {mend}") from None
    except RecursionError:
        raise ValueError(f"{where} is nested too deep: {mend}") from None
    except ValueError as error:  # Python refuses integers of more than 4300 digits
        raise ValueError(f"{where} can't be read ({error}): {mend}") from None


def read_json(path: Path, shape: Any = object) -> Any:
    """The value of a JSON file, of that shape (see `refuse_other_shape`). Raises ValueError that names the file."""
    found = decoded(read_text(path), str(path))
    refuse_other_shape(found, shape, str(path))
    return found


def read_jsonl(path: Path, shape: Any = dict, mend: str = DAMAGED) -> list[dict[str, Any]]:
    """The records of a JSONL file, each of that shape. Raises ValueError that names file and line of a malformed
    one."""
    rows = []
    for number, line in enumerate(read_text(path, mend).split("\n"), start=1):
        if line.strip():
            rows.append(decoded(line, f"{path}:{number}", mend))
            refuse_other_shape(rows[-1], shape, f"{path}:{number}", mend=mend)
    return rows


def refuse_other_shape(value: Any, shape: Any, where: str, place: str = "", mend: str = DAMAGED) -> None:
    """Raises ValueError where a value doesn't have the shape. A shape is a type; a tuple of shapes, of which one must
    fit; a table of keys with their shapes, where a key that ends with a question mark is optional and the key `...`
    stands for all others; or a list of one shape, that of each of its items. Keys that a table doesn't name are
    accepted: a later version may have added them."""
    options: tuple[Any, ...] = shape if isinstance(shape, tuple) else (shape,)
    kinds = tuple(type(one) if isinstance(one, dict | list) else one for one in options)
    at = f"{where}: {place or 'its value'}"
    # bool is a subclass of int, but `true` where a number is wanted is an error
    if not isinstance(value, kinds) or (isinstance(value, bool) and not {bool, object} & set(kinds)):
        must = " or ".join(dict.fromkeys(NAMES.get(k, "a number") for k in kinds))
        raise ValueError(f"{at} is {shown(value)}, but must be {must}: {mend}")
    form: Any = next((one for one in options if isinstance(one, dict | list) and isinstance(value, type(one))), None)
    if isinstance(form, list):
        for k, inner in enumerate(value):
            refuse_other_shape(inner, form[0], where, f"{place}[{k}]", mend)
    elif isinstance(form, dict):
        keys = {key.removesuffix("?"): inner for key, inner in form.items() if key is not ...}
        for key in form:
            if key is not ... and not key.endswith("?") and key not in value:
                raise ValueError(f"{at} has no {key!r}: {mend}")
        for key, inner in dict(value).items():
            if key in keys or ... in form:
                below = keys[key] if key in keys else form[...]
                refuse_other_shape(inner, below, where, f"{place}.{key}".strip("."), mend)


def record_of(kind: type[Record], row: Mapping[str, Any], path: Path) -> Record:
    """A dataclass from a row of that file. Raises ValueError that names the file if the fields don't fit."""
    try:
        return kind(**row)
    except TypeError as error:
        raise ValueError(f"{path}: a row is no {kind.__name__} ({error}): {DAMAGED}") from None


def shown(value: Any, most: int = 40) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[:most]}…"
