"""Signals that ask a process to stop: SIGINT (Ctrl-C), SIGTERM, and SIGHUP, which is sent when a terminal is closed. On
the first one a training loop finishes its step and writes a checkpoint; a second one stops at once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
WORDS = "finishing this step, then writing a checkpoint; Ctrl-C again stops at once"
led: list[int] | None = None  # in a worker process: the stop signals that its parent sent; None in other processes


class Stopped(KeyboardInterrupt):
    """The process was stopped by a signal; the message is for the user. A KeyboardInterrupt, so that `except Exception`
    in users' code doesn't catch it."""

    def __init__(self, words: str = "stopped", number: int = signal.SIGINT) -> None:
        super().__init__(words)
        self.number = number


def number_of(error: KeyboardInterrupt) -> int:
    """The number of the signal that raised the interrupt; SIGINT for Python's own."""
    return getattr(error, "number", signal.SIGINT)


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Yields a list to which the first stop signal is added; the loop checks it at the end of each step. A second
    signal raises Stopped at once, except SIGHUP: a terminal that closes may send it twice, without a user's intent."""
    if led is not None:
        yield led
        return
    requests: list[int] = []

    def handler(number: int, frame: Any) -> None:
        if requests and number != getattr(signal, "SIGHUP", None):
            raise Stopped(number=number)
        if not requests:
            requests.append(number)
            # OSError: the terminal was closed; RuntimeError: the signal arrived within a write to the same stream
            with suppress(OSError, RuntimeError):
                print(f"\n{WORDS}", file=sys.stderr)

    with handled(handler):
        yield requests


@contextmanager
def stop_at_once() -> Iterator[None]:
    """Within the block, outside of training loops, every stop signal raises Stopped, so that `finally` blocks clean up;
    by default SIGTERM and SIGHUP would end the process without that."""

    def handler(number: int, frame: Any) -> None:
        raise Stopped(number=number)

    with handled(handler):
        yield


@contextmanager
def handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Installs the handler for all stop signals within the block. Signals that are ignored, as SIGHUP under nohup, stay
    ignored. Python allows handlers in the main thread only; in others nothing changes."""
    before = {}
    with suppress(ValueError):  # not in the main thread
        for number in SIGNALS:
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, signal.SIG_DFL if was is None else was)  # None: installed by code that isn't Python


def follow(stop: Callable[[], None]) -> None:
    """Installs the handlers of a worker process: only SIGTERM, which its parent sends, asks it to stop, and calls
    `stop`. Ctrl-C and a closed terminal signal all processes of the terminal, and the parent alone decides on them."""
    global led
    asked = led = []

    def handler(number: int, frame: Any) -> None:
        asked.append(number)
        stop()

    for number in SIGNALS:
        signal.signal(number, handler if number == signal.SIGTERM else signal.SIG_IGN)
