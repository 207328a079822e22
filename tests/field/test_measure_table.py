"""What the table of `scalpel measure` says of answers that could not be read, and what is said of a template's date."""

from __future__ import annotations

import logging
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from scalpel.cli import tables
from scalpel.data import chat_template
from scalpel.evaluation import side_by_side
from scalpel.evaluation.probes import ItemResult


def printed(**after: Any) -> str:
    probe: Any = SimpleNamespace(name="sums", role="keep", kind="generate", unit="nats")
    before = [ItemResult(str(i), True, None, "4", "2+2?") for i in range(4)]
    now = [ItemResult("0", False, None, "", "2+2?", **after), *before[1:]]
    console = Console(file=StringIO(), width=200)
    console.print(tables.ledger_table([side_by_side(probe, before, now)]))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_shares_of_unread_and_cut_off_answers_stand_in_the_table_where_there_are_any() -> None:
    unread = printed(unread=True)
    assert "unread" in unread and "0% → 25%" in unread and "cut off" not in unread
    assert "cut off" in printed(cut_off=True) and "unread" not in printed(cut_off=True)
    plain = printed()
    assert "unread" not in plain and "cut off" not in plain and "verdict" in plain


def test_the_date_that_a_template_writes_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    chat_template.fixed_time.cache_clear()
    template = chat_template.compiled("{{ strftime_now('%Y') }}")
    with caplog.at_level(logging.INFO, "scalpel"):
        years = {template.render() for _ in range(3)}
    assert len(years) == 1 and caplog.text.count("it is fixed at") == 1
