"""What data and models write can't steer the terminal, whichever way it is printed; no character stops a print."""

from __future__ import annotations

import io
import logging
import sys

import pytest
from rich.table import Table

from folders import Truth, write_comparison
from scalpel.cli import app, tables
from scalpel.errors import UserError
from scalpel.evaluation import ledger as books
from scalpel.evaluation.probes import ItemResult
from scalpel.reporting import terminal
from scalpel.runs.progress import Progress
from scalpel.runs.terminal import (
    LogHandler,
    Terminal,
    prepare,
    shown,
)
from scalpel.runs.visible import STEERING, visible

ATTACKS = {
    "clears the screen": "\x1b[2J",
    "turns red": "\x1b[31m",
    "changes the title": "\x1b]0;owned\x07",
    "makes a link": "\x1b]8;;http://example.org\x1b\\here\x1b]8;;\x1b\\",
    "in one byte": "\x9b2J\x9d0;owned\x9c",
    "overwrites the line": "wrong\rright",
    "rubs out": "no\x08\x08yes\x7f",
    "turns the line around": "\u202egpj.exe\u2066",
    "half a character": "\ud800",
    "a zero": "a\x00b",
}
ALL = " ".join(ATTACKS.values())


def console() -> Terminal:
    """A terminal without colours, so that every escape in its output is somebody's."""
    return Terminal(file=io.StringIO(), force_terminal=True, color_system=None, width=200)


def written(at: Terminal) -> str:
    assert isinstance(at.file, io.StringIO)
    return at.file.getvalue()


def tame(text: str) -> bool:
    return not STEERING.search(text)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_what_steers_becomes_a_sign_in_its_place(attack):
    assert tame(visible(attack)) and visible(attack) != attack and visible(visible(attack)) == visible(attack)


def test_signs_say_what_was_there():
    assert visible("\x1b[2J \x07 \r \x7f \x9b \u202e") == "␛[2J ␇ ␍ ␡ \\x9b \\u202e"


@pytest.mark.parametrize("text", ["a\tb\nc", "naïve 漢字 🤖 👩‍👩‍👧", "שלום", "\u200f\u200e", "⟦x⟧"])
def test_honest_text_stays_as_it_is(text):
    assert visible(text) == text


def test_a_console_shows_it_in_words_markup_tables_and_titles():
    at = console()
    table = Table("head", title=ALL)
    table.add_row(ALL)
    at.print(ALL, markup=False)
    at.print(f"[bold]{ALL}[/bold]")
    at.print(table)
    assert tame(written(at)) and written(at).count("␛[2J") == 4


def test_a_console_keeps_its_own_colours():
    at = Terminal(file=io.StringIO(), force_terminal=True, color_system="standard", width=80)
    at.print("[red]x[/red]")
    assert written(at) == "\x1b[31mx\x1b[0m\n"


def test_no_word_of_the_data_becomes_a_picture():
    at = console()
    at.print(":smile: [red]x[/red]", markup=False)
    assert written(at) == ":smile: [red]x[/red]\n"


def test_progress_shows_it_beside_the_bars_and_in_their_names():
    at = Terminal(file=io.StringIO(), force_terminal=False, width=200)
    with Progress(at, every=0.0) as progress:
        progress.say(ALL)
        progress.bar(f"[red]{ALL}", 4).advance()
    assert tame(written(at)) and "[red]" in written(at)


def test_a_message_that_quotes_a_row_is_shown(monkeypatch):
    at = console()
    monkeypatch.setattr(app, "err", at)
    app.say(UserError(f"data.jsonl:3 {ALL}"))
    assert tame(written(at)) and "data.jsonl:3 ␛[2J" in written(at)


def test_warnings_are_shown_too(monkeypatch):
    at = io.StringIO()
    monkeypatch.setattr(sys, "stderr", at)
    log, told = logging.getLogger("scalpel"), LogHandler()
    log.addHandler(told)
    try:
        log.warning("row %s: %s", 3, ALL)
    finally:
        log.removeHandler(told)
    assert tame(at.getvalue()) and at.getvalue().startswith("row 3: ␛[2J")


def test_a_traceback_is_shown(monkeypatch):
    def failing(**named: object) -> None:
        raise RuntimeError(ALL)

    at = io.StringIO()
    monkeypatch.setattr(app, "app", failing)
    monkeypatch.setattr(sys, "stderr", at)
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 1 and tame(at.getvalue()) and "RuntimeError" in at.getvalue()


def test_what_a_model_says_is_shown_on_a_terminal_and_raw_in_a_file(monkeypatch):
    at = io.StringIO()
    monkeypatch.setattr(sys, "stdout", at)
    assert shown(ALL) == ALL
    monkeypatch.setattr(at, "isatty", lambda: True)
    assert tame(shown(ALL))


def test_tables_of_results_take_names_to_the_letter(tmp_path):
    at = console()
    terminal(write_comparison(tmp_path, {"[red]\x1b[2J": Truth(0.9, 0.1, seeds=(0,))}), at)
    results = [ItemResult("1", True, -1.0, ALL, ALL)]

    class Probe:
        name, role, kind, unit = "[bold]\x1b[2J", "keep", "generate", "nats"

    at.print(tables.ledger_table([books.side_by_side(Probe(), results, results)]))  # type: ignore[arg-type]
    assert tame(written(at)) and "[red]␛[2J" in written(at) and "[bold]␛[2J" in written(at)


def test_a_terminal_of_few_characters_gets_the_others_by_number(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", errors="strict"))
    log = logging.getLogger("scalpel")
    before, level = list(log.handlers), log.level
    try:
        prepare()
        Terminal().print("⟦ü⟧ 漢 \ud800", markup=False)
        table = Table("é")
        table.add_row("–")
        Terminal().print(table)
        sys.stdout.write("ü\ud800\n")
        sys.stdout.flush()
    finally:
        log.handlers[:] = before
        log.setLevel(level)
    assert b"\\u27e6\\xfc" in raw.getvalue() and raw.getvalue().isascii()
