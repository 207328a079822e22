"""Strict JSON: unlike Python's reader it refuses duplicate keys, NaN, numbers that overflow to infinity and lone
surrogates. Every error names the place and the reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from math import isinf
from typing import Any

from scalpel.tasks.packed import lines, text_of

Located = tuple[str, Mapping[str, Any]]  # the place of the row ("data.jsonl:17"), and the row
WHITE = re.compile(r"[ \t\r\n]*")
OBJECT = 'such as {"prompt": "…", "completion": "…"}'


class Fault(ValueError):
    """A value that JSON, or Python's reader, allows and that no row may have."""


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Fault(f"the key {twice!r} is there twice in one object, so one of its values would be lost: remove one")
    return found


def no_number(word: str) -> Any:
    raise Fault(f"{word} is no JSON: write null where there is no value")


def finite(digits: str) -> float:
    number = float(digits)
    if isinf(number):
        raise Fault(f"the number {digits} is too large: it would be infinite")
    return number


DECODER = json.JSONDecoder(object_pairs_hook=unique, parse_constant=no_number, parse_float=finite)


def decoded(text: str, start: int, where: str) -> tuple[Any, int]:
    """The value that begins at `start`, and its end. JSONDecodeError is left to the caller, which knows the line."""
    try:
        value, end = DECODER.raw_decode(text, start)
    except json.JSONDecodeError:
        raise
    except Fault as error:
        raise ValueError(f"{where}: {error}") from None
    except RecursionError:
        raise ValueError(f"{where}: objects or lists are nested too deeply to be read") from None
    except ValueError as error:  # integers of thousands of digits
        raise ValueError(f"{where}: a number can't be read ({error}): write it as text") from None
    if text.find("\\u", start, end) >= 0:
        refuse_halves(value, where)
    return value, end


def refuse_halves(value: Any, where: str, place: str = "") -> None:
    """Raises ValueError for a lone surrogate, which JSON can express and UTF-8 can't encode."""
    if isinstance(value, dict):
        for key, inner in value.items():
            refuse_halves(key, where, "a key")
            refuse_halves(inner, where, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            refuse_halves(inner, where, f"{place}[{i}]")
    elif isinstance(value, str) and (half := next((c for c in value if "\ud800" <= c <= "\udfff"), "")):
        raise ValueError(
            f"{where}: {place or 'a text'} holds half a character (the lone surrogate \\u{ord(half):04x}), which is no "
            "text and can't be encoded: correct the text, or write \\ufffd in its place"
        )


def jsonl(path: str) -> Iterator[Located]:
    """One JSON object a line; empty lines are skipped."""
    for number, line in lines(path):
        text = line.strip(" \t\r\n")
        if not text:
            continue
        where = f"{path}:{number}"
        try:
            row, end = decoded(text, 0, where)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where}: not valid JSON: {error.msg} at column {error.colno}{at_cr(line)}") from None
        if text[end:].strip():
            what = f"more text after the first value, at column {end + 1}: each line must be one JSON object"
            raise ValueError(f"{where}: not valid JSON: {what}{at_cr(line)}")
        if not isinstance(row, dict):
            whole = ' (a file that is one list of objects is read with name = "json")' if isinstance(row, list) else ""
            raise ValueError(
                f"{where}: {kind_of(row)} instead of an object: each line must be one JSON object, {OBJECT}{whole}"
            )
        yield where, row


def kind_of(value: Any) -> str:
    """The JSON type of a value, in words."""
    kinds = {list: "a list", str: "a text", bool: "a truth value", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")


def at_cr(line: str) -> str:
    """A hint for files whose lines end with carriage returns alone."""
    return "; its lines seem to end with CR alone: save the file with newlines" if "\r" in line.rstrip("\r\n") else ""


def json_file(path: str) -> Iterator[Located]:
    """A list of objects; an object that holds one such list; or an object of columns, each a list of one length."""
    text = text_of(path)
    try:
        if text.lstrip()[:1] == "[":
            yield from items(text, path)
            return
        start = len(text) - len(text.lstrip())
        value, end = decoded(text, start, path)
        if text[end:].strip():
            line = text.count("\n", 0, end + len(text[end:]) - len(text[end:].lstrip())) + 1
            raise ValueError(
                f"{path}:{line}: more text after the first value: where each line is an object of its own, say "
                'name = "jsonl"'
            )
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not valid JSON: {error.msg} at column {error.colno}") from None
    yield from of_object(value, path)


def items(text: str, path: str) -> Iterator[Located]:
    """The objects of a list, each with the line on which it begins, decoded one at a time."""
    at, counted, line = text.index("[") + 1, 0, 1
    if text.startswith("]", white(text, at)):
        return
    while True:
        at = white(text, at)
        line += text.count("\n", counted, at)
        counted, where = at, f"{path}:{line}"
        value, at = decoded(text, at, where)
        if not isinstance(value, dict):
            raise ValueError(f"{where}: {kind_of(value)} in the list: each item must be an object, {OBJECT}")
        yield where, value
        at = white(text, at) + 1
        if text[at - 1 : at] == "]":
            break
        if text[at - 1 : at] != ",":
            raise json.JSONDecodeError("Expecting ',' or ']'", text, at - 1)
    if rest := text[at:].strip():
        raise ValueError(f"{path}: more text after the list: {rest[:40]!r}")


def white(text: str, at: int) -> int:
    """The end of the white space that begins at a position."""
    found = WHITE.match(text, at)
    return found.end() if found else at


def of_object(value: Any, path: str) -> Iterator[Located]:
    """The rows of a file that is one object."""
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {kind_of(value)}: the file must be a list of objects, {OBJECT}")
    listed = {k: v for k, v in value.items() if isinstance(v, list)}
    rows = {k: v for k, v in listed.items() if v and all(isinstance(row, dict) for row in v)}
    if len(rows) == 1 and (len(listed) == 1 or len(listed) < len(value)):
        key, inside = next(iter(rows.items()))
        yield from ((f"{path}: {key}[{i}]", row) for i, row in enumerate(inside))
    elif listed and len(listed) == len(value) and len({len(v) for v in listed.values()}) == 1:
        names = list(listed)
        columns = zip(*listed.values(), strict=True)
        yield from ((f"{path}: row {i}", dict(zip(names, row, strict=True))) for i, row in enumerate(columns, 1))
    else:
        lengths = ", ".join(f"{k}: {len(v)}" for k, v in listed.items()) or "none"
        raise ValueError(
            f"{path}: one object with the keys {', '.join(value)} (lists: {lengths}), in which no rows are found: give "
            "a list of objects, an object with one such list in it, or columns as lists of one length"
        )
