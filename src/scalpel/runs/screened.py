"""Escapes the control characters in what users' code prints on a terminal. Output to a file or a pipe is unchanged."""

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
    """A wrapper of stdout or stderr that escapes what is written. All other attributes are those of the stream."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.calls = 0  # running calls of users' code, in all threads

    @property
    def rich_proxied_file(self) -> Any:
        """The stream behind, unescaped: rich writes there through this attribute, and its own control sequences are
        intended."""
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
        """Whether the output appears on a terminal. While bars are shown, rich has put a FileProxy in the stream's
        place, which prints on the terminal."""
        return isinstance(self.stream, FileProxy) or bool(self.stream.isatty())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __iter__(self) -> Any:
        return iter(self.stream)


@contextmanager
def screened() -> Iterator[None]:
    """Within the block, control characters that any thread writes to stdout and stderr are escaped on a terminal.

    sys.stdout is shared by all threads, so calls are counted, and the last one restores the stream.
    """
    with _lock:
        held = {name: entered(name) for name in NAMES if getattr(sys, name) is not None}
    try:
        yield
    finally:
        with _lock:
            for name, screen in held.items():
                screen.calls -= 1
                if not screen.calls and getattr(sys, name) is screen:  # users' code may have replaced the stream itself
                    setattr(sys, name, screen.stream)


def entered(name: str) -> Screened:
    """The wrapper of that stream, installed if it isn't yet, with one more running call."""
    stream = getattr(sys, name)
    screen = stream if isinstance(stream, Screened) else Screened(stream)
    screen.calls += 1
    setattr(sys, name, screen)
    return screen
