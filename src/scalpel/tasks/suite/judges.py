"""Verifiers of the suite: programs that read an answer; UNREAD where there is nothing that could be an answer."""

from __future__ import annotations

import re

from scalpel.data.example import Example
from scalpel.rewards.scored import UNREAD
from scalpel.rewards.verifiers import contains

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
# phrases for "the text doesn't say"; a model that says it otherwise counts as wrong, before and after alike
UNKNOWN = re.compile(
    r"\bunknown\b|\bnot (?:mentioned|stated|said|specified|given|provided|known|clear)\b"
    r"|\b(?:doesn't|does not|didn't|did not) (?:say|mention|state|specify|tell|provide)\b|\bno information\b"
    r"|\bcan(?:not|'t) be (?:determined|answered|known)\b",
    re.IGNORECASE,
)


def last_number(completion: str, example: Example) -> float:
    """1 where the last number of the text is the answer's."""
    found = NUMBER.findall(completion)
    if not found:
        return UNREAD
    return float(float(found[-1].replace(",", "")) == float(example.answer or "nan"))


def mentions(completion: str, example: Example) -> float:
    """1 where the answer, or another accepted form of it, stands in the first line as words of its own, and none of the
    wrong ones does."""
    line = completion.strip().split("\n")[0]
    accepted = [example.answer or "", *example.columns.get("also", ())]
    if not any(contains(line, with_answer(text), ignore_case=True) == 1.0 for text in accepted):
        return 0.0 if line else UNREAD
    wrong = example.columns.get("wrong", ())
    return float(not any(contains(line, with_answer(text), ignore_case=True) == 1.0 for text in wrong))


def with_answer(text: str) -> Example:
    return Example(answer=text)


def says_unknown(completion: str, example: Example) -> float:
    """1 where the answer says that it isn't known."""
    return float(UNKNOWN.search(completion) is not None) if completion.strip() else UNREAD


def same_line(completion: str, example: Example) -> float:
    """1 where a line of the answer is the wanted one, but for case, quotes, a full stop and spaces between items."""
    lines = [normal(line) for line in completion.strip().splitlines() if line.strip()]
    return float(normal(example.answer or "") in lines) if lines else UNREAD


def exact_line(completion: str, example: Example) -> float:
    """1 where a line of the answer is the wanted one, case included."""
    lines = [line.strip().strip("\"'`") for line in completion.strip().splitlines() if line.strip()]
    return float((example.answer or "") in lines) if lines else UNREAD


def normal(line: str) -> str:
    line = re.sub(r"^\s*(?:answer|sorted|reversed|result|output)\s*:", "", line.casefold())
    return re.sub(r"\s*,\s*|\s+", " ", line.strip(" .\"'`*[]")).strip()
