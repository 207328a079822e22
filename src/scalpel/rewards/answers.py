"""Extraction of a text's final answer and of the parts of that answer.

Everything here maps text to text in linear time, since completions are untrusted input. Characters that can be written
in several ways (minus signs, digits, currency symbols) are normalised first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from scalpel.rewards.notation import FRACTION, RAISED, decimals, improper, power

BOXES = ("last", "first", "only")
OPEN = re.compile(r"\\(?:boxed|fbox)\s*\{")
JOINED = re.compile(r"[\s$,;&]*(?:(?:and|or)[\s$,;&]*)?|[\s$]*\\text\s*\{\s*(?:and|or)\s*\}[\s$]*")
WORD_JOIN = re.compile(r"\\(?:text|mathrm|textrm|mbox)\s*\{\s*(,?\s*(?:and|or)\s*)\}")
SEPARATOR = re.compile(r",\s+(?:and|or)\b|,\s+|;\s*|\s(?:and|or)\s")
MATH = re.compile(r"(?<![\\$])\$(?=\S)[^$\n]*?(?<=\S)\$(?![\d$])")  # not the dollar sign of money
MONEY = re.compile(
    r"\\?\$\s*(?=-?\d)|(?<=\d)\s?\\\$|[\u20ac\u00a3\u00a5\u20b9]\s*(?=-?\d)|(?<=\d)\s*[\u20ac\u00a3\u00a5\u20b9]"
)
PLUS = re.compile(r"(?:^|(?<=is )|(?<=: )|(?<== )|(?<=\{))\s*\+\s*(?=\d)")
ROOT = re.compile("(-?\\d{0,9})\u221a *(\\d+|\\([^()]*\\))")
PI = re.compile("(-?\\d{0,9})\u03c0")
TIE = re.compile(r"(?<!\\)~")  # LaTeX's non-breaking space, or "about"
NUMBERED = re.compile(r"\\text\s*\{\s*(-?\d[^{}]*)\}")  # a number inside \text{}
DASH = re.compile("(?<!\\w)(?<!\\w\\s)\u2013(?=[\\d.])")  # an en dash used as a minus sign
WRITTEN = {
    "\u221e": "\\infty ", "\u222a": "\\cup ", "\u2229": "\\cap ", "\u2205": "\\emptyset ", "\u2264": "\\le ",
    "\u2265": "\\ge ", "\u00b0": "^\\circ ", "\u00d7": "\\times ", "\u00b7": "\\cdot ", "\u00b1": "\\pm ",
    "\\varnothing": "\\emptyset ",
}  # fmt: skip
FUNCTIONS = re.compile(r"\\[A-Za-z]+|(?<![A-Za-z])(?:sqrt|pi|sin|cos|tan|log|ln|exp)(?![A-Za-z])")
PHRASE = re.compile(r"answer(?:\*\*|\s|:|is\b)+([^\n]+)", re.IGNORECASE)
SENTENCE = re.compile(r"\.(?:\s|$)")
TAG = re.compile(r"</?[A-Za-z_]{3,20}>")
NAMED = re.compile(r"(?<![\\A-Za-z])(sqrt\s*\(([^()]*)\)|pi(?![A-Za-z]))")
OPEN_ENDS = 20  # the search ends after this many boxes without a closing brace
MARKED = re.compile(r"####[ \t]*([^\n]+)")
NUMBER = r"(?:[A-Za-z]\s?=\s?)?-?\d(?:[\d.,]{0,30}\d)?(?:/\d{1,30})?"
LISTED = re.compile(rf"{NUMBER}(?:(?:\s*[,;]\s+(?:and\s+|or\s+)?|\s+(?:and|or)\s+){NUMBER})+")
SIGNS = {
    **dict.fromkeys("\u2212\ufe63\uff0d", "-"), **dict.fromkeys("\u00a0\u2007\u2009\u200a\u202f", " "),
    "\u066b": ".", "\u066c": ",", "\uff0e": ".", "\uff05": "%", "\uff0b": "+", "\u2044": "/", "\u200b": "",
    "\uff0f": "/", "\ufeff": "", "\u2248": " ",
}  # fmt: skip


def cleaned(text: str) -> str:
    """The text with minus signs, digits, spaces, fractions, roots and powers in one notation, without currency symbols
    and tags."""
    if not text.isascii():
        text = DASH.sub("-", text)
        text = FRACTION.sub(improper, text)
        text = "".join(SIGNS.get(c, plain(c)) for c in RAISED.sub(power, text))
    text = TAG.sub(" ", text)
    text = re.sub(r"\\[!,;]|\{,\}", lambda m: "," if m[0] == "{,}" else "" if m[0] == "\\!" else " ", text)
    text = NUMBERED.sub(r"\1", TIE.sub(" ", text))
    text = PLUS.sub("", decimals(text))
    return "".join(symbols(piece, kept) for piece, kept in pieces(text))


def symbols(piece: str, mathematics: bool) -> str:
    """A piece with roots and pi in LaTeX; in a piece of prose these are set between dollar signs."""
    mark = "" if mathematics else "$"
    if not piece.isascii():
        piece = ROOT.sub(lambda m: f"{mark}{m[1]}\\sqrt{{{m[2].strip('()')}}}{mark}", piece)
        piece = PI.sub(lambda m: f"{mark}{m[1]}\\pi {mark}", piece)
    return piece if mathematics else MONEY.sub("", piece.replace("\\%", "%"))


def plain(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The pieces of a text, each with whether it is mathematics between dollar signs."""
    start = 0
    for found in MATH.finditer(text):
        yield text[start : found.start()], False
        yield found[0], True
        start = found.end()
    yield text[start:], False


def boxes(text: str) -> list[tuple[int, int, str]]:
    """(start, end, content) of every box that is closed and not empty. Of nested boxes the outer one is taken."""
    found: list[tuple[int, int, str]] = []
    at, left = 0, OPEN_ENDS
    while left and (box := OPEN.search(text, at)) is not None:
        end = closing(text, box.end())
        if end is None:  # truncated: earlier boxes count, and boxes nested in it may
            at, left = box.end(), left - 1
            continue
        if content := text[box.end() : end].replace("$", "").strip().rstrip("\\ "):
            found.append((box.start(), end + 1, content))
        at = end + 1
    return found


def closing(text: str, start: int) -> int | None:
    """The position of the closing brace that matches the one opened just before `start`; None if there is none."""
    depth = 1
    for brace in re.finditer(r"(?<!\\)[{}]", text[start:]):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return start + brace.start()
    return None


def chosen(text: str, box: str) -> list[str] | None:
    """The contents of the box that counts as the answer; None if the text has no box.

    Boxes separated only by a comma, "and" or "or" form one answer of several parts. With box = "only" the list is empty
    if the text has boxes that differ.
    """
    found = boxes(text)
    if not found:
        return None
    groups: list[list[str]] = [[found[0][2]]]
    for (_, end, _), (start, _, content) in zip(found, found[1:], strict=False):
        if JOINED.fullmatch(text, end, start) and text[end:start].strip(" \n\t$"):
            groups[-1].append(content)
        else:
            groups.append([content])
    groups = [list(dict.fromkeys(group)) for group in groups]
    if box == "only":
        return groups[0] if all(group == groups[0] for group in groups) else []
    return groups[-1 if box == "last" else 0]


def parts(text: str) -> list[str]:
    """The parts of an answer that lists several values, separated by a comma and a space, a semicolon, "and" or "or".
    Separators inside brackets don't split."""
    text = WORD_JOIN.sub(r" \1 ", text)
    depth_at, depth = [], 0
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        depth_at.append(depth)
    found, start = [], 0
    for mark in SEPARATOR.finditer(text):
        if depth_at[mark.start()] == 0:
            found.append(text[start : mark.start()].strip())
            start = mark.end()
    found.append(text[start:].strip())
    return [part for part in found if part.strip(" $.")] or [text]


def final(text: str, box: str, several: bool) -> tuple[list[str], str] | None:
    """The parts of a text's final answer and the whole answer, both marked as mathematics; None if box = "only" and
    the boxes differ. `several`: whether the reference answer has several parts."""
    marked = "$" in text
    text = cleaned(spoken(text))
    inside = chosen(text, box)
    if inside is not None:
        if not inside:
            return None
        split = [part for content in inside for part in parts(content)]
        return [boxed(part) for part in split], boxed(", ".join(inside))
    if marks := MARKED.findall(text):
        text = marks[-1].strip()
    if several and (lists := LISTED.findall(text)):
        return [part.rstrip(".,") for part in parts(lists[-1])], text
    if (expression := alone(text if marked else text.replace("$", ""))) is not None:
        return [bare(part) for part in parts(expression)] if several else [bare(expression)], text
    return [text], text


def spoken(text: str) -> str:
    """The text after the reasoning block; the whole text if there is no block, or nothing after it."""
    said = text.rpartition("</think>")[2]
    return said if said.strip() else text


def phrase(text: str) -> str | None:
    """The text from the last "answer is" or "answer:" to the end of its sentence; None if neither occurs."""
    found = PHRASE.findall(text)
    return SENTENCE.split(found[-1])[0] if found else None


def alone(text: str) -> str | None:
    """The text, or the part of it that follows "answer is", if that is a single expression.

    None if there are other words, if delimiters already mark the mathematics, or if it is an equation (whose right side
    is then the value).
    """
    stated = phrase(text)
    found = (text if stated is None else stated).strip(" \n\t*`").rstrip(" .,;:*")
    if not found or len(found) > 200 or any(mark in found for mark in ("$", "\n", "=", "\\(", "\\[", "\\boxed")):
        return None
    if re.search(r"[A-Za-z]{2,}|\d\s+\d", FUNCTIONS.sub(" ", found)) or found.endswith(("!", "%")):
        return None
    return found if re.search(r"[0-9A-Za-z\u221e\u2205]", found) else None


def boxed(content: str) -> str:
    return f"$\\boxed{{{spelt(content)}}}$"


def spelt(expression: str) -> str:
    """The expression with `sqrt(…)`, `pi` and Unicode symbols replaced by LaTeX commands."""
    for sign, command in WRITTEN.items():
        expression = expression.replace(sign, command)
    return NAMED.sub(lambda m: "\\pi " if m[2] is None else f"\\sqrt{{{m[2]}}}", expression)


def stated(answer: str) -> tuple[list[str], str]:
    """The parts of a reference answer and the whole reference answer, both marked as mathematics."""
    text = cleaned(answer)
    if inside := chosen(text, "last"):
        return [boxed(part) for content in inside for part in parts(content)], boxed(", ".join(inside))
    text = text.strip()
    return [bare(part) for part in parts(text)], bare(text)


def bare(text: str) -> str:
    """The text between dollar signs if it is an expression without them: otherwise Math-Verify would read only the "1"
    of "1+x". Text with words stays as it is, and Math-Verify searches it for an expression."""
    text = spelt(text)
    words = re.search(r"[A-Za-z]{2,}", re.sub(r"\\(?:begin|end)\{[a-z*]+\}|\\[A-Za-z]+", " ", text))
    marked = any(mark in text for mark in ("$", "\\boxed", "\\(", "\\["))
    return text if words or marked else f"${text}$"
