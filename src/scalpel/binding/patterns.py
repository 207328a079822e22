"""Regular expressions with a time limit: backtracking can take years on some texts, and models write any text."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import regex

log = logging.getLogger("scalpel")
SECONDS = 5.0  # that a search may take unless said
_limit: ContextVar[float] = ContextVar("seconds", default=SECONDS)
_slow: set[str] = set()  # expressions of which it was said


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Within it, in this thread, searches whose callers don't say how long they may take have so many seconds."""
    token = _limit.set(seconds)
    try:
        yield
    finally:
        _limit.reset(token)


def search(expression: str, text: str, seconds: float | None = None) -> regex.Match[str] | None:
    """The first match; None if there is none, or the time limit ran out."""
    try:
        return compiled(expression).search(text, timeout=allowed(seconds))
    except TimeoutError:
        too_slow(expression, text, allowed(seconds))
        return None


def every(expression: str, text: str, seconds: float | None = None) -> list[regex.Match[str]] | None:
    """All matches in order; None if the time limit ran out."""
    try:
        return list(compiled(expression).finditer(text, timeout=allowed(seconds)))
    except TimeoutError:
        too_slow(expression, text, allowed(seconds))
        return None


def whole(expression: str, text: str, seconds: float | None = None) -> bool:
    """Full match of a regular expression; False where the time limit ran out."""
    try:
        return compiled(expression).fullmatch(text, timeout=allowed(seconds)) is not None
    except TimeoutError:
        too_slow(expression, text, allowed(seconds))
        return False


def last(expression: str, text: str, seconds: float | None = None) -> regex.Match[str] | None:
    """The last match; None if there is none, or the time limit ran out."""
    matches = every(expression, text, seconds)
    return matches[-1] if matches else None


def found(expression: str, text: str, seconds: float | None = None) -> str | None:
    """The first group of the last match, without white space around it; None if nothing matches."""
    match = last(expression, text, seconds)
    return None if match is None else (match.group(1) or "").strip()


def allowed(seconds: float | None) -> float:
    return _limit.get() if seconds is None else seconds


def too_slow(expression: str, text: str, seconds: float) -> None:
    """Warns once per expression that its search ran out of time, with the text and a way to rewrite it."""
    if expression not in _slow:
        _slow.add(expression)
        log.warning(
            "the expression %r was given up after %g s on a text of %d characters that begins with %r, and counts as "
            "not found there (further ones are not named): repetitions within repetitions take such time, as in "
            "(a+)+; write each so that it can match in one way only",
            expression, seconds, len(text), text[:60],
        )  # fmt: skip


@cache
def compiled(expression: str) -> regex.Pattern[str]:
    """The compiled expression. ValueError for one that Python's `re` refuses too, so that both read it alike."""
    try:
        re.compile(expression)
        return regex.compile(expression)
    except (re.error, regex.error, TypeError, RecursionError, OverflowError) as error:
        raise ValueError(f"{expression!r} is no regular expression: {error}") from None
