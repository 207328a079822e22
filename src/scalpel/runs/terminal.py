"""The terminal: consoles that no text of others can steer, and a log that comes out between the bars."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from scalpel.runs.visible import visible


class Terminal(Console):
    """A console whose texts are made visible on their way out, wherever they come from. Only its own styles and
    movements, which rich makes for it, reach the terminal as such."""

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:  # first, so that widths are those of what is shown
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


class LogHandler(logging.Handler):
    """Writes a record's line where errors go at that moment: bars that are under way stay below it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def prepare() -> None:
    """For a command: no character stops what is printed, and the log is heard, its notes as well as its warnings."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of few characters shows the others by number
    log = logging.getLogger("scalpel")
    if not any(isinstance(handler, LogHandler) for handler in log.handlers):
        log.addHandler(LogHandler())
    log.setLevel(min(log.getEffectiveLevel(), logging.INFO))


def shown(text: str) -> str:
    """What a model said, as it is written to stdout: visible on a terminal, to the letter in a file or a pipe."""
    return visible(text) if sys.stdout.isatty() else text
