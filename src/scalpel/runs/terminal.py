"""The terminal: consoles that escape control characters in data, and a log handler that prints above progress bars."""

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
    """A console that escapes the control characters of all texts. Only the styles and cursor movements that rich itself
    makes reach the terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:  # escaped before layout, which needs the shown width
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


class LogHandler(logging.Handler):
    """Writes records to the present sys.stderr. While bars are shown, rich has replaced that by a proxy, which prints
    above them; a StreamHandler would keep the original stream and write through the bars."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def prepare() -> None:
    """Prepares a command's output: characters that the terminal lacks are escaped instead of raising an error, and the
    log is printed from level INFO on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # as under LANG=C, where ASCII is all there is
    log = logging.getLogger("scalpel")
    if not any(isinstance(handler, LogHandler) for handler in log.handlers):
        log.addHandler(LogHandler())
    log.setLevel(min(log.getEffectiveLevel(), logging.INFO))


def shown(text: str) -> str:
    """A model's text for stdout: with control characters escaped on a terminal, unchanged in a file or a pipe."""
    return visible(text) if sys.stdout.isatty() else text
