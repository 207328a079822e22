"""Where the final answer of a text is, and its parts: text in, text out, in time that grows with its length alone.

Signs, digits and currencies that mathematics is written with in many ways are brought to one of them first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal

BOXES = ("last", "first", "only")
OPEN = re.compile(r"\\(?:boxed|fbox)\s*\{")
JOINED = re.compile(r"[\s$,;&]*(?:(?:and|or)[\s$,;&]*)?|[\s$]*\\text\s*\{\s*(?:and|or)\s*\}[\s$]*")
WORD_JOIN = re.compile(r"\\(?:text|mathrm|textrm|mbox)\s*\{\s*(,?\s*(?:and|or)\s*)\}")
SEPARATOR = re.compile(r",\s+(?:and|or)\b|,\s+|;\s*|\s(?:and|or)\s")
MATH = re.compile(r"(?<![\\$])\$(?=\S)[^$\n]*?(?<=\S)\$(?![\d$])")  # a dollar before money isn't one before mathematics
MONEY = re.compile(r"\\?\$\s*(?=-?\d)|(?<=\d)\s?\\\$")
POWER = re.compile(r"(?<![\w.\\])(-?\d{1,40}(?:\.\d{1,40})?)[eE]([-+]?\d{1,2})(?![\w.]\d)\b")
PLUS = re.compile(r"(?:^|(?<=is )|(?<=: )|(?<== )|(?<=\{))\s*\+\s*(?=\d)")
MARKED = re.compile(r"####[ \t]*([^\n]+)")
NUMBER = r"(?:[A-Za-z]\s*=\s*)?-?\d[\d.,]*(?:/\d+)?"
LISTED = re.compile(rf"{NUMBER}(?:(?:\s*[,;]\s+(?:and\s+|or\s+)?|\s+(?:and|or)\s+){NUMBER})+")
SIGNS = {
    **dict.fromkeys("\u2212\ufe63\uff0d", "-"), **dict.fromkeys("\u00a0\u2007\u2009\u200a\u202f", " "),
    "\u066b": ".", "\u066c": ",", "\uff0e": ".", "\uff05": "%", "\uff0b": "+", "\u2044": "/", "\u200b": "",
}  # fmt: skip


def cleaned(text: str) -> str:
    """The text with one kind of minus, digits, spaces and powers of ten, and without signs of currencies."""
    if not text.isascii():
        text = "".join(SIGNS.get(c, plain(c)) for c in text)
    text = re.sub(r"\\[!,;]|\{,\}", lambda m: "," if m[0] == "{,}" else "" if m[0] == "\\!" else " ", text)
    text = re.sub(r"(?<=\d),\s?(?=\d{3}(?!\d))(?<=[\d,])", ",", text) if "," in text else text
    text = POWER.sub(lambda m: format(Decimal(m[1]).scaleb(int(m[2])), "f"), text)
    text = PLUS.sub("", text)
    return "".join(piece if kept else MONEY.sub("", piece) for piece, kept in pieces(text))


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
    at = 0
    while (box := OPEN.search(text, at)) is not None:
        end = closing(text, box.end())
        if end is None:  # cut off: what comes before it counts, and so may boxes inside
            at = box.end()
            continue
        if content := text[box.end() : end].strip():
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
    text = cleaned(text)
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
    return [text], text


def boxed(content: str) -> str:
    return f"$\\boxed{{{content}}}$"


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
    words = re.search(r"[A-Za-z]{2,}", re.sub(r"\\(?:begin|end)\{[a-z*]+\}|\\[A-Za-z]+", " ", text))
    marked = any(mark in text for mark in ("$", "\\boxed", "\\(", "\\["))
    return text if words or marked else f"${text}$"
