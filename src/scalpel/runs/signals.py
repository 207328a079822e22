"""Signals that ask a process to stop: Ctrl-C, SIGTERM, and SIGHUP, which comes when a terminal is closed. The first is
a wish that a loop meets at the end of its step; a second one stops at once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
WORDS = "finishing this step, then writing a checkpoint; Ctrl-C again stops at once"
led: list[int] | None = None  # in a process that another one leads: the signals by which it was asked to stop


class Stopped(KeyboardInterrupt):
    """Stopped by a signal; the words are for the user."""

    def __init__(self, words: str = "stopped", number: int = signal.SIGINT) -> None:
        super().__init__(words)
        self.number = number


def number_of(error: KeyboardInterrupt) -> int:
    """The signal behind it."""
    return getattr(error, "number", signal.SIGINT)


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Turns a first signal into a wish that the loop meets at the end of its step; a second one stops at once. A
    second SIGHUP does not: a terminal that closes may send it twice, and nobody is there to mean it."""
    if led is not None:
        yield led
        return
    wish: list[int] = []

    def handler(number: int, frame: Any) -> None:
        if wish and number != getattr(signal, "SIGHUP", None):
            raise Stopped(number=number)
        if not wish:
            wish.append(number)
            with suppress(OSError, RuntimeError):  # the terminal is gone, or was being written to just now
                print(f"\n{WORDS}", file=sys.stderr)

    with handled(handler):
        yield wish


@contextmanager
def calm() -> Iterator[None]:
    """Outside loops every one of these signals stops at once, and what was begun is cleared away."""

    def handler(number: int, frame: Any) -> None:
        raise Stopped(number=number)

    with handled(handler):
        yield


@contextmanager
def handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """The handler for all these signals, in the main thread. Where SIGHUP or SIGTERM is ignored, as under nohup, that
    stays so."""
    before = {}
    with suppress(ValueError):  # not in the main thread: handlers are left alone
        for number in SIGNALS:
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, signal.SIG_DFL if was is None else was)


def follow(stop: Callable[[], None]) -> None:
    """In a process that another one leads: only SIGTERM counts, by which the leader asks it to stop. Ctrl-C and a
    closed terminal reach all processes, and are the leader's to answer. `stop` is called beside."""
    global led
    asked = led = []

    def handler(number: int, frame: Any) -> None:
        asked.append(number)
        stop()

    for number in SIGNALS:
        signal.signal(number, handler if number == signal.SIGTERM else signal.SIG_IGN)
