"""A process reward: the share of a calculation's written equations that hold."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Iterator
from math import isfinite

RIGHT = re.compile(r"\s*(-?\d+(?:\.\d+)?)")
STEP = re.compile(r"\d[ )]*[-+*/]")  # a left side is a calculation if it has an operator after a number
WRITTEN = frozenset("-+*/(). ")  # the characters of a left side, together with digits
LONGEST = 200  # only so many characters of a left side are evaluated
STEPS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def value(text: str) -> float | None:
    """The value of an arithmetic expression of + − * / and parentheses; None for any other text."""

    def of(node: ast.expr) -> float:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -of(node.operand)
        if isinstance(node, ast.BinOp) and type(node.op) in STEPS:
            return float(STEPS[type(node.op)](of(node.left), of(node.right)))
        raise ValueError(ast.dump(node))

    try:
        return of(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, SyntaxError, ZeroDivisionError, OverflowError, RecursionError, MemoryError):
        return None


def written(text: str) -> Iterator[tuple[str, str]]:
    """The left and right sides of all equations `calculation = number` in a text. Each character is visited at most
    twice, so a completion of any form takes linear time."""
    free = 0  # the end of the previous equation
    at = text.find("=")
    while at >= 0:
        start = at
        while start > free and (text[start - 1] in WRITTEN or text[start - 1].isdecimal()):
            start -= 1
        number = RIGHT.match(text, at + 1)
        if number and STEP.search(text, start, at):
            yield text[max(start, at - LONGEST) : at], number[1]
            free = number.end()
        else:
            free = at + 1
        at = text.find("=", free)


def true_share(text: str) -> float | None:
    """The share of the equations `calculation = number` in the text that are true; None if there is no equation."""
    right = []
    for left, stated in written(text):
        came, said = value(left), float(stated)
        right.append(came is not None and isfinite(said) and abs(came - said) <= 1e-6 * max(1.0, abs(said)))
    return sum(right) / len(right) if right else None
