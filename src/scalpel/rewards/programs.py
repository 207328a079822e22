"""Programs that a model writes, judged by running them with tests, in the sandbox.

Trap: a program that ends by itself with status 0 before its tests (`sys.exit(0)`, `os._exit(0)`) would pass if the
status decided; so a random token is printed behind the tests, and an answer is right if the output ends with it. It
doesn't hold against a program that looks for the token in its caller's frames.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Annotated

from pydantic import Field

from scalpel.binding.bounds import Seconds
from scalpel.data.example import Example, named
from scalpel.registry import register
from scalpel.rewards.scored import UNREAD
from scalpel.sandbox import Limits, run_program

FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
HARNESS = """import json
code, tests, token = json.loads({0!r})
space = {{"__name__": "__main__"}}
exec(compile(code, "answer.py", "exec"), space)
exec(compile(tests, "tests.py", "exec"), space)
print("\\n" + token)
"""
Megabytes = Annotated[int, Field(ge=16, le=1 << 16)]


@register("verifier", "unit-tests")
def unit_tests(
    completion: str,
    example: Example,
    *,
    column: str = "test",
    seconds: Seconds = 5.0,
    memory: Megabytes = 512,
    unsafe: bool = False,
) -> float:
    """1 where the program in the completion passes the tests in that column of the row, run in the sandbox; unread
    where it is empty. The program is the first fenced block; without one, the completion, behind the prompt where
    that is plain text. A row with an `entry_point`, as HumanEval has them, calls `check(entry_point)` of its tests."""
    code = program_of(completion, example)
    if not code.strip():
        return UNREAD
    token = secrets.token_hex(16)
    harness = HARNESS.format(json.dumps([code, tests_of(example, column), token]))
    found = run_program(harness, Limits(seconds=seconds, memory=memory << 20), unsafe=unsafe)
    return float(found.ok and found.stdout.endswith(f"\n{token}\n"))


def program_of(completion: str, example: Example) -> str:
    """The program that a completion is or holds."""
    if (fenced := FENCED.search(completion)) is not None:
        return fenced[1]
    if not completion.strip():
        return ""
    asked = example.prompt if isinstance(example.prompt, str) else ""
    return asked + completion if asked else completion.lstrip(" ")  # many models begin with a space


def tests_of(example: Example, column: str) -> str:
    tests = example.columns.get(column)
    if not isinstance(tests, str) or not tests.strip():
        raise ValueError(
            f"{named(example)} has no tests in column {column!r}: add them as Python (assert statements), or say in "
            "which column they are (verify = {name = 'unit-tests', column = '…'})"
        )
    entry = example.columns.get("entry_point")
    return f"{tests}\ncheck({entry})\n" if entry else tests
