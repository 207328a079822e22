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
_inside = 0  # how many calls of users' code are under way, in all threads


class Screened:
    """A stream in place of stdout or stderr. All but what is written goes to that itself."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

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
    global _inside
    with _lock:
        _inside += 1
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, Screened):
                setattr(sys, name, Screened(stream))
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            for name in ("stdout", "stderr"):
                stream = getattr(sys, name)
                if not _inside and isinstance(stream, Screened):  # else users' code has put another in its place
                    setattr(sys, name, stream.stream)
