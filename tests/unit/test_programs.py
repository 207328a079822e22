"""The verifier `unit-tests`: which program is read, and that neither an early end nor a fault passes."""

import pytest

from scalpel.data.example import Example
from scalpel.rewards.programs import program_of, unit_tests
from scalpel.rewards.scored import unread
from scalpel.sandbox import missing

walls = pytest.mark.skipif(bool(missing()), reason=f"no sandbox on this machine: {missing()}")
CHAT = ({"role": "user", "content": "Write f."},)
ROW = Example(prompt=CHAT, columns={"test": "assert f(2) == 4"})
HUMAN_EVAL = Example(
    prompt="def f(x):\n",
    columns={"test": "def check(candidate):\n    assert candidate(2) == 4\n", "entry_point": "f"},
)


@walls
@pytest.mark.parametrize(
    ("completion", "example", "score"),
    [
        ("def f(x): return x * 2", ROW, 1.0),
        (" def f(x):\n    return x * 2", ROW, 1.0),
        ("Here:\n```python\ndef f(x):\n    return 2 * x\n```\nIt doubles.", ROW, 1.0),
        ("```\ndef f(x): return x\n```", ROW, 0.0),
        ("def f(x) return x", ROW, 0.0),
        ("import sys; sys.exit(0)", ROW, 0.0),
        ("import os; print('passed'); os._exit(0)", ROW, 0.0),
        ("    return x * 2\n", HUMAN_EVAL, 1.0),
        ("    return x\n", HUMAN_EVAL, 0.0),
    ],
)
def test_programs_are_run_with_their_tests(completion, example, score):
    assert unit_tests(completion, example) == score


def test_an_empty_answer_is_unread_and_a_row_without_tests_is_refused():
    assert unread(unit_tests(" \n", ROW))
    with pytest.raises(ValueError, match="no tests in column 'test'"):
        unit_tests("def f(x): return x", Example(prompt=CHAT, id="7"))


def test_the_first_fenced_block_is_the_program():
    assert program_of("```py\na = 1\n```\n```py\nb = 2\n```", ROW) == "a = 1\n"
    assert program_of("a = 1", Example(prompt="x = 0\n")) == "x = 0\na = 1"
