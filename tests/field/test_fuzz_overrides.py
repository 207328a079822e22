"""Overrides of any form: they are applied, or refused with a ValueError in words."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scalpel.config.override import put
from scalpel.config.recipe import parse

KEYS = [
    "train",
    "steps",
    "signals",
    "0",
    "1",
    "-1",
    "²",
    "٣",
    "source",
    "name",
    "seed",
    "",
    " ",
    "'a.b'",
    '"',
    "é",
    "arms",
]
VALUES = [
    "1", "1e400", "nan", "inf", "9" * 30, "9" * 5000, '"abc', "'", "[1,", "[" * 3000, "{a=1", "{a=1, a=2}",
    "2020-01-01", "07:32:00", "", " ", "\0", "\ud800", "1\nb = 2", '"""', "a=b", "#", '"\\ud800"', "é", "{prompt} is?",
]  # fmt: skip
KEY = st.text(max_size=2)
TABLES = st.recursive(st.integers() | KEY, lambda x: st.lists(x) | st.dictionaries(KEY, x))
BARE = {"model": "m", "task": {"name": "world/reverse"}, "train": {"method": "grpo"}, "compare": {"arms": []}}


@settings(max_examples=250, derandomize=True, deadline=None)
@given(
    st.lists(st.sampled_from(KEYS) | st.text(max_size=3), max_size=5).map(".".join),
    st.sampled_from(["=", "", "=="]),
    st.sampled_from(VALUES) | st.text(max_size=6),
)
def test_any_override_is_applied_or_refused_in_words(path: str, equals: str, value: str) -> None:
    try:
        parse(BARE, [f"{path}{equals}{value}"])
    except ValueError as error:
        assert type(error) is ValueError and str(error).strip()
        str(error).encode()


@settings(max_examples=100, derandomize=True, deadline=None)
@given(TABLES, st.text(max_size=8))
def test_an_override_over_any_tables_is_applied_or_refused_in_words(inner: object, override: str) -> None:
    try:
        put({"a": inner, "": inner, "0": inner}, override)
    except ValueError as error:
        assert type(error) is ValueError and str(error).strip()
