"""Comparison of mathematical values in texts, in a separate process that `mathematics` starts and ends.

The process runs this file, reads one line of JSON for each question, and answers with one. A question that takes too
long ends the process. It starts as a plain script, so this file imports nothing of scalpel.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from functools import lru_cache
from typing import Any

CLOSE = 2e-6  # relative: 0.333333 is 1/3
PLACES = 5e-7  # and no farther apart than that: large numbers are exact


@lru_cache(maxsize=4096)
def read(text: str) -> tuple[Any, ...]:
    """What a text may mean: expressions, or nothing."""
    from math_verify import parse

    found = parse(text, parsing_timeout=None)  # type: ignore[arg-type]  # None is allowed there
    return tuple(found)


def readings(parts: list[str], whole: str) -> list[tuple[Any, ...]]:
    """Each part's meanings, where all of them can be read; else those of the whole; nothing where it can't be."""
    found = [read(part) for part in parts]
    if all(any(not isinstance(x, str) for x in one) for one in found):
        return found
    return [one] if (one := read(whole)) else []


def same(right: Any, said: Any) -> bool:
    """Whether two expressions have one value, or are the same set, tuple or interval of such."""
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
    """The element of a set of one."""
    return x.args[0] if isinstance(x, sets) and len(x.args) == 1 else x


def is_number(x: Any) -> bool:
    return bool(getattr(x, "is_number", False)) and bool(getattr(x, "is_extended_real", False))


def close(right: Any, said: Any) -> bool:
    """Whether two numbers are one: exactly, or where one is rounded, to six digits. There is no absolute tolerance
    near zero, where numbers may differ by as little as they like."""
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
    """Whether any meaning of one is one of the other. Where one of them alone is a percentage, 28% may be 28 too."""
    marked = [any(isinstance(x, str) and x.rstrip().endswith("%") for x in side) for side in (right, said)]
    if marked[0] != marked[1]:
        right, said = (
            (*side, *(100 * x.doit() for x in side if hasattr(x, "doit"))) if percent else side
            for side, percent in zip((right, said), marked, strict=True)
        )
    return any(same(a, b) for a in right for b in said)


def matched(right: list[tuple[Any, ...]], said: list[tuple[Any, ...]]) -> bool:
    """Whether each of one side has one of its own on the other: a part of a set isn't the set."""
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
    """The elements, where what was read is a single set."""
    from latex2sympy2_extended.sets import FiniteSet

    if len(found) == 1 and found[0] and isinstance(found[0][0], FiniteSet):
        return [(x,) for x in found[0][0].args]
    return found


def answered(question: dict[str, Any]) -> str | bool | None:
    """True or False, None where nothing can be read, and words where the right answer itself can't be."""
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
    """Answers lines from standard input until it closes."""
    logging.disable()
    alarm = getattr(signal, "alarm", None)  # a limit that holds even if the parent process has died
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
