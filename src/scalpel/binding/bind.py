"""Tables of a recipe, bound to functions: the arguments of a function are the schema of its table.

Their annotations are what the values must be, checked strictly (true is no number, a number no text), with bounds by
`Annotated[…, Field(gt=0)]`; their defaults are what a key that is left out stands for. Every fault is a ValueError that
names the place in the recipe, what came, and what it must be.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from scalpel.binding.plain import short, shown, toml_value
from scalpel.registry import unknown

REQUIRED = inspect.Parameter.empty
NAMED: dict[Any, str] = {
    int: "an integer", float: "a number", str: "text", bool: "true or false", list: "a list", dict: "a table",
    tuple: "a list", NoneType: "left out", Any: "a value", Mapping: "a table", Sequence: "a list",
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """The type of a key's value, and its default."""

    wanted: Any = Any
    default: Any = REQUIRED


class Words(NamedTuple):
    """In an annotation: what a value must be, in words."""

    text: str


def keys_of(*functions: Callable[..., Any], without: Collection[str] = ()) -> dict[str, Key]:
    """The keys of a table for these functions: the keyword-only arguments of each, or all its arguments where it has no
    keyword-only ones. Arguments in `without` are no keys, since the program passes them."""
    return {name: key for fn in functions for name, key in _keys(fn).items() if name not in without}


@cache
def _keys(fn: Callable[..., Any]) -> dict[str, Key]:
    parameters = [
        p for p in inspect.signature(fn).parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    only = [p for p in parameters if p.kind is p.KEYWORD_ONLY] or parameters
    hints = hints_of(fn)
    return {p.name: Key(hints.get(p.name, Any), p.default) for p in only}


def hints_of(fn: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function's arguments, or of those by which a class is made."""
    target = fn.__init__ if isinstance(fn, type) and not is_dataclass(fn) else fn  # type: ignore[misc]
    try:
        return get_type_hints(target, include_extras=True)
    except NameError as error:
        name = getattr(fn, "__name__", repr(fn))
        raise ValueError(
            f"an annotation of {name} names {error.name!r}, which its module doesn't have: import it there, and not "
            "under TYPE_CHECKING alone"
        ) from None


def checked_table(place: str, table: Any, keys: Mapping[str, Key]) -> dict[str, Any]:
    """The table with its values checked and converted. ValueError for unknown keys, missing keys and wrong values."""
    if not isinstance(table, Mapping):
        raise ValueError(f"{short(place)} is {shown(table)}, but must be a table")
    for key in table:
        if key not in keys:
            raise ValueError(f"{short(place)}: {unknown('key', str(key), keys)}")
    for key, known in keys.items():
        if known.default is REQUIRED and key not in table:
            raise ValueError(f"{short(place)} has no {key!r}: it must be {described(known.wanted)}")
    return {key: checked_value(f"{place}.{key}", value, keys[key].wanted) for key, value in table.items()}


def checked_value(place: str, value: Any, wanted: Any) -> Any:
    """The value, checked against the annotation; a list becomes a tuple where the annotation is one."""
    if bare(wanted) is Any:
        return value
    value = toml_value(value, place)
    try:  # as JSON, which has lists and no tuples, so that a list fits either and all else is strict
        return adapter(wanted).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise ValueError(fault(place, value, wanted, error)) from None


def adapter(wanted: Any) -> TypeAdapter[Any]:
    try:
        return _adapter(wanted)
    except TypeError:  # an annotation that can't be hashed
        return TypeAdapter(wanted)


@cache
def _adapter(wanted: Any) -> TypeAdapter[Any]:
    return TypeAdapter(wanted)


def bounded(wanted: Any, numbers: Mapping[Any, Any]) -> Any:
    """The annotation with bounds for the number types that have none: `numbers` maps int and float to bounded types."""
    if get_origin(wanted) in (Union, UnionType):
        return Union[tuple(bounded(a, numbers) for a in get_args(wanted))]  # noqa: UP007  (made of what it holds)
    return numbers.get(wanted, wanted) if isinstance(wanted, type) else wanted


@contextmanager
def placed(place: str, known: str = "") -> Iterator[None]:
    """Adds the key to the message of a ValueError, unless the message begins with it. `known` is the name by which the
    called code knows that key: the key replaces it."""
    try:
        yield
    except ValueError as error:
        words = str(error)
        if words.startswith(place):
            raise
        if known and words.startswith(tuple(known + mark for mark in (".", ":", " is ", " has "))):
            raise ValueError(short(place) + words.removeprefix(known)) from error
        raise ValueError(f"{short(place)}: {words}") from error


def fault(place: str, value: Any, wanted: Any, error: ValidationError) -> str:
    """The message for the first fault of a value. It names the entry inside the value where that is at fault."""
    found = error.errors()[0]
    for step in found["loc"]:
        inner = inside(wanted, step)
        if inner is None or not has(value, step):
            break
        place, value, wanted = f"{place}.{step}", value[step], inner
    if found["type"] == "value_error":
        return f"{short(place)} is {shown(value)}, which {found['msg'].removeprefix('Value error, ')}"
    return f"{short(place)} is {shown(value)}, but must be {described(wanted)}"


def has(value: Any, step: int | str) -> bool:
    """Membership of a key in a table, or of an index in a list."""
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


def inside(wanted: Any, step: int | str) -> Any:
    """The annotation of an entry of a list or table; None where it isn't unique."""
    wanted = bare(wanted)
    origin, args = get_origin(wanted), get_args(wanted)
    if origin in (Union, UnionType):
        kinds = [a for a in args if a is not NoneType and get_origin(bare(a)) is not None]
        return inside(kinds[0], step) if len(kinds) == 1 else None
    if origin is tuple and isinstance(step, int) and len(args) > step and Ellipsis not in args:
        return args[step]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return args[1]
    return args[0] if isinstance(origin, type) and issubclass(origin, Sequence) and args else None


def bare(wanted: Any) -> Any:
    return get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted


def described(wanted: Any) -> str:
    """The annotation in words: "an integer of 1 or more"."""
    origin, args = get_origin(wanted), get_args(wanted)
    if origin is Annotated and (words := next((m for m in args[1:] if isinstance(m, Words)), None)):
        return words.text
    if origin is Annotated:
        return within(described(args[0]), args[1:])
    if origin is Literal:
        return " or ".join(json.dumps(a) if isinstance(a, str) else str(a).lower() for a in args)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(described(a) for a in args if a is not NoneType))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a table" if args[1] is Any else f"a table with {plural(described(args[1]))}"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        kinds = [a for a in args if a is not Ellipsis]
        if origin is tuple and Ellipsis not in args:
            return f"a list of {len(kinds)}: {', '.join(described(a) for a in kinds)}"
        return "a list" if kinds == [Any] else f"a list, each {described(kinds[0])}"
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        return "a table"
    return NAMED.get(wanted) or str(getattr(wanted, "__name__", wanted))


def plural(words: str) -> str:
    return {"text": "texts", "a number": "numbers", "an integer": "integers"}.get(words, f"values, each {words}")


def within(words: str, metadata: Sequence[Any]) -> str:
    """The words, followed by the bounds."""
    rules = [rule for m in metadata for rule in (m.metadata if isinstance(m, FieldInfo) else [m])]
    found = {name: getattr(r, name) for r in rules for name in ("ge", "gt", "le", "lt") if hasattr(r, name)}
    if any(getattr(rule, "min_length", 0) for rule in rules):
        words = f"{words} that is not empty" if words == "text" else f"{words}, and not empty"
    if not found:
        return words
    low = f"of {found['ge']:g} or more" if "ge" in found else f"above {found['gt']:g}" if "gt" in found else ""
    high = f"at most {found['le']:g}" if "le" in found else f"below {found['lt']:g}" if "lt" in found else ""
    if "ge" in found and "le" in found:
        return f"{words} from {number(found['ge'])} to {number(found['le'])}"
    return f"{words} {' and '.join(filter(None, (low, high)))}"


def number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"
