"""Whether the steps of a calculation hold: a reward of the process, not of its end."""

from __future__ import annotations

import ast
import operator
import re

EQUATION = re.compile(r"([-+*/().\d ]*\d[ )]*[-+*/][-+*/().\d ]*)=\s*(-?\d+(?:\.\d+)?)")
LONGEST = 200  # characters of a left side that are looked at
STEPS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def value(text: str) -> float | None:
    """What a sum of numbers, products and brackets comes to; None for what is none."""

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


def true_share(text: str) -> float:
    """The share of the written equations `calculation = number` that hold; 0 where there is none."""
    found = [(left[-LONGEST:], right) for left, right in EQUATION.findall(text)]
    made = [(value(left), float(right)) for left, right in found]
    right = [came is not None and abs(came - said) <= 1e-6 * max(1.0, abs(said)) for came, said in made]
    return sum(right) / len(right) if right else 0.0
