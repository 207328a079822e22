"""Values as TOML has them: tables, lists, texts, numbers and booleans. Anything else is refused with its key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from math import isnan
from numbers import Integral, Real
from os import PathLike, fspath
from typing import Any

DEEPEST = 24  # tables and lists within each other
WIDEST = 2**63  # TOML's integers have 64 bits


def toml_value(value: Any, place: str = "", deep: int = 0) -> Any:
    """A copy of the value as TOML would hold it. Raises ValueError with the key of anything that TOML can't hold."""
    here = place or "the recipe"
    if deep > DEEPEST:
        raise ValueError(f"{short(here)} is nested more than {DEEPEST} deep: no table of a recipe is")
    if isinstance(value, Mapping):
        inside = {
            key_of(k, here): toml_value(v, f"{place}.{k}" if place else str(k), deep + 1) for k, v in value.items()
        }
        return {k: v for k, v in inside.items() if v is not None}  # as TOML says it: the key is left out
    if isinstance(value, list | tuple):
        if any(v is None for v in value):
            raise ValueError(f"{short(here)} holds a None, which no recipe holds: leave it out")
        return [toml_value(v, f"{place}.{i}" if place else str(i), deep + 1) for i, v in enumerate(value)]
    if isinstance(value, str):
        return text(value, here)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return whole(int(value), here)
    if isinstance(value, Real):
        if isnan(value):
            raise ValueError(f"{short(here)} is nan, which is no number: give one")
        return float(value)
    if isinstance(value, PathLike):
        return text(str(fspath(value)), here)
    if isinstance(value, datetime | date | time):
        raise ValueError(f"{short(here)} is {value}, a date or a time, which no key takes: put quotes around a text")
    raise ValueError(
        f"{short(here)} is a {type(value).__name__}, which no recipe can hold: give text, numbers or tables"
    )


def key_of(key: Any, here: str) -> str:
    if not isinstance(key, str):
        raise ValueError(f"{short(here)} has the key {key!r:.60}: keys are text")
    return text(key, f"a key of {here}")


def text(value: str, here: str) -> str:
    """Text that can be written to a file as UTF-8: without NUL characters and lone surrogates."""
    if "\0" in value:
        raise ValueError(f"{short(here)} holds a NUL character: {shown(value)}; leave it out")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{short(here)} holds half a character (a lone surrogate, at place {error.start + 1}): write it in UTF-8"
        ) from None
    return str(value)


def whole(value: int, here: str) -> int:
    if not -WIDEST <= value < WIDEST:
        raise ValueError(
            f"{short(here)} has more than the 64 bits that an integer of TOML may have: give a smaller one"
        )
    return value


def short(place: str, most: int = 120) -> str:
    """A key for a message, cut where it is long: a key may be as long as a file."""
    return place if len(place) <= most else f"{place[:most]}…"


def shown(value: Any, most: int = 80) -> str:
    """A value for a message, cut where it is long."""
    try:
        words = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits has no words
        return f"a very large {type(value).__name__}"
    return words if len(words) <= most else f"{words[:most]}…"
