"""Validation of reward values: finite numbers that float32 represents well enough, or None."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from numbers import Real
from typing import Any

from scalpel.data.example import Example, named
from scalpel.rewards.scored import Unread

# Rewards are float32 in a batch, which represents integers exactly only up to this limit. Beyond it, rounding of a
# group's mean can exceed the differences between its rewards; far beyond it, their squares overflow.
LIMIT = 2.0**24


def checked(values: Sequence[Any], spec: str, examples: Sequence[Example]) -> list[float | None]:
    """A function's values as numbers, None where it doesn't apply. A ValueError names function, value and row."""
    return [number(value, spec, example) for value, example in zip(values, examples, strict=True)]


def number(value: Any, spec: str, example: Example) -> float | None:
    if value is None or isinstance(value, Unread):
        return value
    if hasattr(value, "item"):
        value = scalar(value)
    if not isinstance(value, Real):
        raise ValueError(
            f"reward {spec} returned {shown(value)} ({type(value).__name__}) on {named(example)}: it must be a number"
        )
    try:
        found = float(value)
    except OverflowError:
        found = float("inf")
    if not isfinite(found):
        raise ValueError(
            f"reward {spec} returned {shown(value)} on {named(example)}: a reward must be finite; return None where "
            "it does not apply"
        )
    if abs(found) > LIMIT:
        raise ValueError(
            f"reward {spec} returned {found:g} on {named(example)}: beyond {LIMIT:.0f} float32 can't represent the "
            "differences between rewards; scale or clip them, since only their differences matter"
        )
    return found


def scalar(value: Any) -> Any:
    """The number in an array or tensor with a single element; anything else unchanged."""
    try:
        return value.item()
    except (ValueError, RuntimeError, TypeError):
        return value


def weight(value: Any, name: object) -> float:
    """A reward's weight, checked."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"reward {name!r} has weight {shown(value)}: it must be a number")
    if not abs(value) <= LIMIT:  # written so that NaN fails too
        raise ValueError(
            f"reward {name!r} has weight {shown(value)}: it must be finite and between -{LIMIT:.0f} and {LIMIT:.0f}; "
            "use weight 0 for a reward that is only monitored"
        )
    return float(value)


def seconds(value: Any, name: object) -> float:
    """A reward's or a verifier's time limit, checked."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86_400:
        raise ValueError(
            f"{name!r} has timeout = {shown(value)}: it must be a number of seconds above 0 and at most a day, such "
            "as 10.0; leave it out for no limit"
        )
    return float(value)


def shown(value: Any, most: int = 80) -> str:
    """A value for an error message: truncated if it is long, and described by its type if it has no repr."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 1000:
        return f"an integer of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception as error:
        return f"a {type(value).__name__} that can't be shown ({type(error).__name__})"
    return text if len(text) <= most else text[:most] + "…"
