"""Extraction of the final answer of a text and of its parts: text in, text out, in linear time.

Minus signs, digits and currencies that can be written in several ways are normalised first.
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
MATH = re.compile(r"(?<![\\$])\$(?=\S)[^$\n]*?(?<=\S)\$(?![\d$])")  # a dollar before money isn't one before mathematics
MONEY = re.compile(
    r"\\?\$\s*(?=-?\d)|(?<=\d)\s?\\\$|[\u20ac\u00a3\u00a5\u20b9]\s*(?=-?\d)|(?<=\d)\s*[\u20ac\u00a3\u00a5\u20b9]"
)
PLUS = re.compile(r"(?:^|(?<=is )|(?<=: )|(?<== )|(?<=\{))\s*\+\s*(?=\d)")
ROOT = re.compile("(-?\\d{0,9})\u221a *(\\d+|\\([^()]*\\))")
PI = re.compile("(-?\\d{0,9})\u03c0")
TIE = re.compile(r"(?<!\\)~")  # a blank of LaTeX, or "about"
NUMBERED = re.compile(r"\\text\s*\{\s*(-?\d[^{}]*)\}")  # a number that was written as words
DASH = re.compile("(?<!\\w)(?<!\\w\\s)\u2013(?=[\\d.])")  # a dash before a number, and behind nothing
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
OPEN_ENDS = 20  # boxes that never close, after which no more are looked for
MARKED = re.compile(r"####[ \t]*([^\n]+)")
NUMBER = r"(?:[A-Za-z]\s?=\s?)?-?\d(?:[\d.,]{0,30}\d)?(?:/\d{1,30})?"
LISTED = re.compile(rf"{NUMBER}(?:(?:\s*[,;]\s+(?:and\s+|or\s+)?|\s+(?:and|or)\s+){NUMBER})+")
SIGNS = {
    **dict.fromkeys("\u2212\ufe63\uff0d", "-"), **dict.fromkeys("\u00a0\u2007\u2009\u200a\u202f", " "),
    "\u066b": ".", "\u066c": ",", "\uff0e": ".", "\uff05": "%", "\uff0b": "+", "\u2044": "/", "\u200b": "",
    "\uff0f": "/", "\ufeff": "", "\u2248": " ",
}  # fmt: skip


def cleaned(text: str) -> str:
    """The text with one kind of minus, digits, spaces, fractions, roots and powers, and without signs of currencies
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
    """A piece with its roots and pi in LaTeX, and, where it is none already, as mathematics among words."""
    mark = "" if mathematics else "$"
    if not piece.isascii():
        piece = ROOT.sub(lambda m: f"{mark}{m[1]}\\sqrt{{{m[2].strip('()')}}}{mark}", piece)
        piece = PI.sub(lambda m: f"{mark}{m[1]}\\pi {mark}", piece)
    return piece if mathematics else MONEY.sub("", piece.replace("\\%", "%"))


def plain(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, and of each whether it is mathematics between dollar signs."""
    start = 0
    for found in MATH.finditer(text):
        yield text[start : found.start()], False
        yield found[0], True
        start = found.end()
    yield text[start:], False


def boxes(text: str) -> list[tuple[int, int, str]]:
    """What stands in boxes that are closed and not empty, with the places where each begins and ends. Of a box in a
    box only the outer one is taken."""
    found: list[tuple[int, int, str]] = []
    at, left = 0, OPEN_ENDS
    while left and (box := OPEN.search(text, at)) is not None:
        end = closing(text, box.end())
        if end is None:  # cut off: what comes before it counts, and so may boxes inside
            at, left = box.end(), left - 1
            continue
        if content := text[box.end() : end].replace("$", "").strip().rstrip("\\ "):
            found.append((box.start(), end + 1, content))
        at = end + 1
    return found


def closing(text: str, start: int) -> int | None:
    """Where the brace closes that was opened before `start`."""
    depth = 1
    for brace in re.finditer(r"(?<!\\)[{}]", text[start:]):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return start + brace.start()
    return None


def chosen(text: str, box: str) -> list[str] | None:
    """The content of the box that counts, several where they are joined by no more than a comma or a word; nothing
    where they contradict each other and `only` one may be; None where there is none."""
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
    """The parts of an answer that names several things, by commas that are followed by a space, semicolons and words;
    what stands in brackets is one."""
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
    """The parts of a text's final answer, and that answer whole, marked as mathematics; None where `only` one box may
    be and they differ. `several`: whether the right answer has several parts."""
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
    """What follows the last "answer is" or "answer:", to the end of its sentence; None where there is no such thing."""
    found = PHRASE.findall(text)
    return SENTENCE.split(found[-1])[0] if found else None


def alone(text: str) -> str | None:
    """The expression that a text, or what it calls its answer, is as a whole; None where words are around it, marks
    say already where mathematics begins, or an equation leads to its value."""
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
    """Roots and pi that are written in letters, and signs of Unicode, in LaTeX."""
    for sign, command in WRITTEN.items():
        expression = expression.replace(sign, command)
    return NAMED.sub(lambda m: "\\pi " if m[2] is None else f"\\sqrt{{{m[2]}}}", expression)


def stated(answer: str) -> tuple[list[str], str]:
    """The parts of an answer as the data has it, and the answer whole, marked as mathematics."""
    text = cleaned(answer)
    if inside := chosen(text, "last"):
        return [boxed(part) for content in inside for part in parts(content)], boxed(", ".join(inside))
    text = text.strip()
    return [bare(part) for part in parts(text)], bare(text)


def bare(text: str) -> str:
    """An expression that lacks its dollar signs, without which only the "1" of "1+x" would be read; where there are
    words, the expression is looked for among them."""
    text = spelt(text)
    words = re.search(r"[A-Za-z]{2,}", re.sub(r"\\(?:begin|end)\{[a-z*]+\}|\\[A-Za-z]+", " ", text))
    marked = any(mark in text for mark in ("$", "\\boxed", "\\(", "\\["))
    return text if words or marked else f"${text}$"
