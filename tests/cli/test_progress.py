"""Progress: bars on a terminal, lines elsewhere, nothing where quiet is asked for."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from scalpel.runs import progress
from scalpel.runs.progress import (
    Progress,
    numbers_in_words,
    rate_in_words,
    time_in_words,
)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def plain():
    return Console(file=io.StringIO(), width=200, force_terminal=False)


def test_without_a_terminal_a_line_comes_every_ten_seconds_with_rate_and_time_left(clock):
    console = plain()
    with Progress(console) as shown:
        bar = shown.bar("training", 100)
        for _ in range(40):
            clock.now += 1.0
            bar.advance(loss=0.5, reward=None)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0] == "training:  10/100 steps  1.0 steps/s  1 min 30 s left  loss 0.5"


def test_quick_work_says_nothing_where_there_is_no_terminal(clock):
    console = plain()
    with Progress(console) as shown:
        assert list(shown.each("abc", "counting", 3)) == ["a", "b", "c"]
    assert console.file.getvalue() == ""


def test_quiet_is_quiet_on_a_terminal_too():
    console = Console(file=io.StringIO(), force_terminal=True)
    with Progress(console, quiet=True) as shown:
        shown.bar("training", 10).advance()
        shown.say("hello")
    assert console.file.getvalue() == ""


def test_a_terminal_gets_a_bar_with_rate_and_numbers():
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with Progress(console) as shown:
        bar = shown.bar("training", 100)
        bar.to(40, loss=0.25)
        shown.live.refresh()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert "training" in text and "40/100 steps" in text and "steps/s" in text and "loss 0.25" in text


def test_a_share_without_a_unit_is_shown_in_percent(clock):
    with Progress(plain()) as shown:
        bar = shown.bar("training", 1.0, "")
        clock.now += 30
        bar.to(0.25)
        assert bar.line() == "training:  25%  50%/min  1 min 30 s left"


def test_more_than_everything_is_everything_and_nothing_is_no_fault(clock):
    with Progress(plain()) as shown:
        bar = shown.bar("training", 2)
        bar.to(5)
        assert bar.done == 2
        empty = shown.bar("nothing", 0, "")
        empty.to(0)
        assert empty.line() == "nothing:"


def test_markup_in_what_is_said_stays_text():
    console = plain()
    with Progress(console) as shown:
        shown.say("[bold]x[/bold]")
    assert console.file.getvalue() == "[bold]x[/bold]\n"


def test_times_and_rates_read_well():
    assert [time_in_words(s) for s in (5, 65, 3725)] == ["5 s", "1 min 5 s", "1 h 2 min"]
    assert rate_in_words(12.34, "steps") == "12.3 steps/s"
    assert rate_in_words(0.25, "steps") == "4.0 s/step"
    assert rate_in_words(0.0, "steps") == ""
    assert numbers_in_words({"step": 12345, "gradient_norm": 0.51234}) == "step 12345  gradient norm 0.512"
