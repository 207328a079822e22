"""Reference answers that are a choice letter or words: compared as text, ignoring formatting and case."""

from __future__ import annotations

import re

from scalpel.rewards.answers import MARKED, chosen, phrase, spoken

WRAPPED = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
LETTER = re.compile(r"\(?([A-Z])\)?")
OPTION = re.compile(r"\(([A-Z])\)|([A-Z])(?:\)|[.:](?=\s|$)|$)")
WORD = re.compile(r"[A-Za-z]{2,}(?:[-'][A-Za-z]+)*")
WORDS = re.compile(r"[^\W\d_]{2,}(?:[ '-][^\W\d_]+)*")


def unwrapped(text: str) -> str:
    """The text without font commands, dollar signs and LaTeX spacing."""
    text = WRAPPED.sub(r"\1", text.replace("$", "").replace("**", ""))
    return re.sub(r"\\[ ,;:!]|~|\\quad", " ", text).strip(" \n\t.,;*_`\"'")


def inner(answer: str) -> str:
    """The content of the answer's last box, or the whole answer if it has none."""
    inside = chosen(answer, "last")
    return ", ".join(inside) if inside else answer


def word_of(answer: str) -> str | None:
    """The letter or the words that an answer consists of; None if it is a mathematical expression."""
    text = inner(answer).strip().strip("$").strip()
    plain = unwrapped(text)
    if letter := LETTER.fullmatch(plain):
        return letter[1]
    marked = WRAPPED.fullmatch(text) is not None
    return plain if (WORDS if marked else WORD).fullmatch(plain) else None


def judged(completion: str, right: str, box: str) -> bool | None:
    """Whether the completion's answer is that letter or those words; None if it states no answer."""
    completion = spoken(completion)
    inside = chosen(completion, box)
    if inside is not None and not inside:
        return False
    marks = MARKED.findall(completion)
    said = inside[-1] if inside else marks[-1] if marks else phrase(completion)
    text = unwrapped(completion.strip() if said is None else said)
    if len(right) == 1:
        found = OPTION.match(text)
        return None if found is None else (found[1] or found[2]) == right
    if not text or said is None and "\n" in text:
        return None
    same = " ".join(text.casefold().split()) == " ".join(right.casefold().split())
    return same if same or said is not None else None
