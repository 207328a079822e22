"""Overrides of recipe keys from the command line, `a.b=c`."""

from __future__ import annotations

import tomllib
from typing import Any

from scalpel.binding.plain import shown

SHORT = {
    "model": "path",
    "source": "name",
    "objective": "name",
    "scope": "name",
}  # keys whose table may be written as a string


def put(tables: dict[str, Any], override: str) -> None:
    """Applies one `a.b=c`: c is parsed as a TOML value, or else taken as text; a number indexes a list."""
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        raise ValueError(f"override {shown(override)} is not of the form key.key=value")
    *inner, last = steps_of(path.strip(), override)
    here: Any = tables
    for key in inner:
        place: Any = index_of(here, key, override) if isinstance(here, list) else key
        inside = here[place] if isinstance(here, list) else here.setdefault(key, {})
        if isinstance(inside, str) and (isinstance(here, list) or key in SHORT):
            inside = here[place] = {SHORT.get(key, "name"): inside}
        if not isinstance(inside, dict | list):
            raise ValueError(f"override {shown(override)} goes into {key!r}, which is {shown(inside)}, not a table")
        here = inside
    if isinstance(here, list):
        here[index_of(here, last, override)] = value_of(text, override)
    else:
        here[last] = value_of(text, override)


def steps_of(path: str, override: str) -> list[str]:
    """The keys of a path. A key that contains a full stop is quoted, as in TOML."""
    if '"' not in path and "'" not in path:
        steps = [step.strip() for step in path.split(".")]
    else:
        try:
            here: Any = tomllib.loads(f"{path} = 0")
        except (ValueError, RecursionError):
            raise ValueError(
                f"override {shown(override)}: {shown(path)} is not a valid key: close its quotes"
            ) from None
        steps = []
        while isinstance(here, dict):
            ((step, here),) = here.items()
            steps.append(step)
    if not all(steps):
        raise ValueError(f"override {shown(override)} has an empty key: it is not of the form key.key=value")
    return steps


def value_of(text: str, override: str) -> Any:
    """The value as TOML, or else the text itself. A text that begins with a quote must be a TOML string."""
    try:
        found = tomllib.loads(f"value = {text}")
    except RecursionError:
        raise ValueError(f"override {shown(override)} is nested too deep") from None
    except ValueError as error:  # not TOML; or an integer of thousands of digits
        if text.strip()[:1] in ('"', "'"):
            raise ValueError(f"override {shown(override)}: the value begins with a quote, but: {error}") from None
        return text
    return found["value"] if len(found) == 1 else text


def index_of(items: list, key: str, override: str) -> int:
    number = int(key) if key.isascii() and key.isdecimal() and len(key) < 10 else len(items)
    if number >= len(items):
        raise ValueError(f"override {shown(override)}: {key!r} must be an index below {len(items)}, the list's length")
    return number
