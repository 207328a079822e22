"""Comparison of mathematical values in texts, in a separate process that `mathematics.py` starts and stops.

The process runs this file as a script: it reads one JSON line per comparison from standard input and writes one JSON
line with the result. A comparison that exceeds its time limit ends the process. The file imports nothing from scalpel,
so that the process starts without loading torch.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from functools import lru_cache
from typing import Any

CLOSE = 2e-6  # relative: 0.333333 is 1/3
PLACES = 5e-7  # absolute upper bound, so that large numbers must be exact


@lru_cache(maxsize=4096)
def read(text: str) -> tuple[Any, ...]:
    """The expressions that Math-Verify parses from a text; empty if it finds none."""
    from math_verify import parse

    found = parse(text, parsing_timeout=None)  # type: ignore[arg-type]  # None is allowed there
    return tuple(found)


def readings(parts: list[str], whole: str) -> list[tuple[Any, ...]]:
    """The parsed expressions of each part if all parts can be parsed, else those of the whole text, else nothing."""
    found = [read(part) for part in parts]
    if all(any(not isinstance(x, str) for x in one) for one in found):
        return found
    return [one] if (one := read(whole)) else []


def same(right: Any, said: Any) -> bool:
    """Whether two expressions have equal values, or are equal sets, tuples or intervals."""
    import sympy
    from latex2sympy2_extended.sets import FiniteSet
    from math_verify import verify

    if isinstance(right, str) or isinstance(said, str):
        return bool(verify(right, said, timeout_seconds=None))
    sets: tuple[Any, ...] = (FiniteSet, sympy.FiniteSet)
    right, said = (only(x, sets) for x in (right, said))
    if is_number(right) and is_number(said):
        return close(right, said)
    if isinstance(right, sets) and isinstance(said, sets):
        return matched([(x,) for x in right.args], [(x,) for x in said.args])
    if isinstance(right, sympy.Tuple) and isinstance(said, sympy.Tuple):
        return len(right) == len(said) and all(map(same, right, said))
    if isinstance(right, sympy.Interval) and isinstance(said, sympy.Interval):
        ends = [(x.left_open, x.right_open) for x in (right, said)]
        return ends[0] == ends[1] and same(right.start, said.start) and same(right.end, said.end)
    if isinstance(right, sets) and is_number(said) or isinstance(said, sets) and is_number(right):
        return False
    if isinstance(said, sympy.Eq) and isinstance(said.lhs, sympy.Symbol) and is_number(right) and is_number(said.rhs):
        return close(right, said.rhs)
    if isinstance(right, sympy.Eq) and isinstance(right.lhs, sympy.Symbol) and is_number(said) and is_number(right.rhs):
        return close(right.rhs, said)
    return bool(verify(right, said, timeout_seconds=None))


def only(x: Any, sets: tuple[Any, ...]) -> Any:
    """The element of a set that has a single one; any other value unchanged."""
    return x.args[0] if isinstance(x, sets) and len(x.args) == 1 else x


def is_number(x: Any) -> bool:
    return bool(getattr(x, "is_number", False)) and bool(getattr(x, "is_extended_real", False))


def close(right: Any, said: Any) -> bool:
    """Whether two numbers are equal: exactly, or to six digits if one of them may be rounded (is not rational).

    The tolerance is relative near zero: with an absolute one, 1e-9 would equal 2e-9 and 0.
    """
    import sympy

    a, b = (sympy.N(x, 30) for x in (right, said))
    if a == b:
        return True
    if not (a.is_finite and b.is_finite):
        return False
    if right.is_Rational and said.is_Rational:
        return False
    return bool(abs(a - b) <= min(PLACES, CLOSE * min(abs(a), abs(b))))


def any_same(right: tuple[Any, ...], said: tuple[Any, ...]) -> bool:
    """Whether any reading of one side equals any reading of the other. If only one side is written as a percentage,
    28% is read as 28 as well as 0.28."""
    marked = [any(isinstance(x, str) and x.rstrip().endswith("%") for x in side) for side in (right, said)]
    if marked[0] != marked[1]:
        right, said = (
            (*side, *(100 * x.doit() for x in side if hasattr(x, "doit"))) if percent else side
            for side, percent in zip((right, said), marked, strict=True)
        )
    return any(same(a, b) for a in right for b in said)


def matched(right: list[tuple[Any, ...]], said: list[tuple[Any, ...]]) -> bool:
    """Whether the two lists match one to one in some order. A subset does not match the whole set."""
    if len(right) != len(said):
        return False
    left = list(said)
    for one in right:
        at = next((i for i, other in enumerate(left) if any_same(one, other)), None)
        if at is None:
            return False
        del left[at]
    return True


def flat(found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The elements if the only thing parsed is one set; otherwise the list unchanged."""
    from latex2sympy2_extended.sets import FiniteSet

    if len(found) == 1 and found[0] and isinstance(found[0][0], FiniteSet):
        return [(x,) for x in found[0][0].args]
    return found


def answered(question: dict[str, Any]) -> str | bool | None:
    """Whether they are equal; None if the completion can't be parsed, "unreadable" if the reference answer can't."""
    right = readings(*question["right"])
    if not right:
        return "unreadable"
    if question["said"] is None:
        return True
    said = readings(*question["said"])
    if not said:
        return None
    if len(right) == 1 and len(said) == 1:
        return any_same(right[0], said[0])
    return matched(flat(right), flat(said))


def serve() -> None:
    """Answers requests from standard input until it is closed."""
    logging.disable()
    alarm = getattr(signal, "alarm", None)  # this time limit works even if the parent process was killed
    for line in sys.stdin:
        question = json.loads(line)
        if alarm:
            alarm(int(question["seconds"]) + 2)
        try:
            said = answered(question)
        except (
            ValueError,
            TypeError,
            ArithmeticError,
            AttributeError,
            NotImplementedError,
            RecursionError,
            MemoryError,
        ):
            said = None
        if alarm:
            alarm(0)
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    serve()
