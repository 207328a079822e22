"""Progress of long work: bars with rate and time left on a terminal, or else a line every few seconds. Always on
stderr, so that the output of a command can be piped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Live

from scalpel.runs.terminal import Terminal

T = TypeVar("T")
EVERY = 10.0  # seconds between two lines where stderr is no terminal


def numbers_in_words(numbers: dict[str, float]) -> str:
    """`step 12  loss 0.512  reward 0.25`"""
    said = {name.replace("_", " "): f"{n}" if isinstance(n, int) else f"{n:.3g}" for name, n in numbers.items()}
    return "  ".join(f"{name} {number}" for name, number in said.items())


def count_in_words(n: float) -> str:
    return f"{n:.0f}" if n == int(n) else f"{n:.1f}"


def rate_in_words(rate: float, unit: str) -> str:
    """`12.0 steps/s`, or `2.5 s/step` below one per second; without a unit the share per minute."""
    if rate <= 0:
        return ""
    if not unit:
        return f"{60 * rate:.0%}/min"
    return f"{rate:.1f} {unit}/s" if rate >= 1 else f"{1 / rate:.1f} s/{unit.removesuffix('s')}"


def time_in_words(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@dataclass
class Bar:
    """One progress bar. `advance` adds n done units, `to` sets their number; both may add numbers to be shown."""

    what: str
    total: float
    unit: str
    show: Callable[[Bar], None]
    task: TaskID
    done: float = 0.0
    numbers: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=lambda: time.monotonic())

    @property
    def of(self) -> str:
        """The progress in units, or as a percentage where there is no unit."""
        if self.unit:
            return f"{count_in_words(self.done)}/{count_in_words(self.total)} {self.unit}"
        return f"{self.done / self.total:.0%}" if self.total else ""

    @property
    def rate(self) -> float:
        return self.done / max(time.monotonic() - self.started, 1e-9)

    @property
    def left(self) -> float:
        """Seconds left at the average rate so far."""
        return (self.total - self.done) / self.rate if self.done else float("inf")

    def advance(self, n: float = 1.0, **numbers: float | None) -> None:
        self.to(self.done + n, **numbers)

    def to(self, done: float, **numbers: float | None) -> None:
        self.done = min(done, self.total)
        self.numbers |= {name: value for name, value in numbers.items() if value is not None}
        self.show(self)

    def line(self) -> str:
        """The bar as a line of text."""
        left = f"{time_in_words(self.left)} left" if 0 < self.done < self.total else ""
        rate = rate_in_words(self.rate, self.unit)
        return "  ".join(
            part for part in (f"{self.what}:", self.of, rate, left, numbers_in_words(self.numbers)) if part
        )


class Progress:
    """The progress bars of a command, for a `with` block. With `quiet` nothing is shown at all."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False, every: float = EVERY) -> None:
        self.console = console or Terminal(stderr=True)
        self.every, self.quiet = every, quiet
        self.said = time.monotonic()
        self.live = Live(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[of]}"),
            TextColumn("{task.fields[rate]}", style="dim"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[numbers]}", style="dim", markup=False),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def bar(self, what: str, total: float, unit: str = "steps") -> Bar:
        """A new bar. Without a unit it shows a percentage."""
        return Bar(what, total, unit, self.show, self.live.add_task(what, total=total, of="", rate="", numbers=""))

    def each(self, items: Iterable[T], what: str, total: int, unit: str = "items") -> Iterator[T]:
        """Iterates over the items, with a bar that counts them."""
        bar = self.bar(what, total, unit)
        for item in items:
            yield item
            bar.advance()

    def say(self, words: str) -> None:
        """Prints a line above the bars."""
        if not self.quiet:
            self.console.print(words, markup=False, highlight=False)

    def show(self, bar: Bar) -> None:
        if not self.live.disable:
            self.draw(bar)
        elif not self.quiet and time.monotonic() - self.said >= self.every:
            self.said = time.monotonic()
            self.say(bar.line())

    def draw(self, bar: Bar) -> None:
        """Draws a bar on the terminal; a full one is hidden."""
        rate, numbers = rate_in_words(bar.rate, bar.unit), numbers_in_words(bar.numbers)
        under_way = bar.done < bar.total
        self.live.update(bar.task, completed=bar.done, of=bar.of, rate=rate, numbers=numbers, visible=under_way)
