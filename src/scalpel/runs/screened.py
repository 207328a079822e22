"""What users' code prints while it runs: on a terminal it is visible, and can't steer it. In a file or a pipe it stands
to the letter."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.file_proxy import FileProxy

from scalpel.runs.visible import visible

_lock = threading.Lock()
NAMES = ("stdout", "stderr")


class Screened:
    """A stream in place of stdout or stderr. All but what is written goes to that itself."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.calls = 0  # of users' code that are under way, in all threads

    @property
    def rich_proxied_file(self) -> Any:
        """Where our own consoles write, whose colours and movements are meant."""
        return getattr(self.stream, "rich_proxied_file", self.stream)

    def write(self, text: str) -> int:
        if isinstance(text, str) and self.is_shown():
            self.stream.write(visible(text))
            return len(text)
        return int(self.stream.write(text))

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def is_shown(self) -> bool:
        """Whether it comes out on a terminal; beside bars it does, though the stream itself may be a file."""
        return isinstance(self.stream, FileProxy) or bool(self.stream.isatty())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __iter__(self) -> Any:
        return iter(self.stream)


@contextmanager
def screened() -> Iterator[None]:
    """While this lasts, in any thread, what is written to stdout and stderr is made visible on a terminal."""
    with _lock:
        held = {name: entered(name) for name in NAMES if getattr(sys, name) is not None}
    try:
        yield
    finally:
        with _lock:
            for name, screen in held.items():
                screen.calls -= 1
                if not screen.calls and getattr(sys, name) is screen:  # users' code may have put another in its place
                    setattr(sys, name, screen.stream)


def entered(name: str) -> Screened:
    """The screen before that stream, with one call more under way."""
    stream = getattr(sys, name)
    screen = stream if isinstance(stream, Screened) else Screened(stream)
    screen.calls += 1
    setattr(sys, name, screen)
    return screen
