"""Short programs, judged by running them."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from scalpel.data.example import Example
from scalpel.rewards.programs import unit_tests
from scalpel.tasks.suite.suite_task import Draft, suite_task

NAMES = ("solve", "f", "compute", "work", "answer", "process", "apply")
# what the function does, its expression over x, and the arguments of the tests
ON_NUMBERS = (
    ("returns x plus {k}", "x + {k}"), ("returns x times {k}", "x * {k}"), ("returns x minus {k}", "x - {k}"),
    ("returns the square of x plus {k}", "x * x + {k}"), ("returns the remainder of x divided by {k}", "x % {k}"),
    ("returns True if x is greater than {k}, otherwise False", "x > {k}"),
    ("returns the larger of x and {k}", "max(x, {k})"),
    ("returns the smaller of x and {k}", "min(x, {k})"), ("returns {k} times x plus one", "{k} * x + 1"),
    ("returns a list of the numbers from {k} up to x, both included", "list(range({k}, x + 1))"),
)  # fmt: skip
ON_TEXTS = (
    ("returns the text x repeated {k} times", "x * {k}"), ("returns the first {k} characters of the text x", "x[:{k}]"),
    ("returns the last {k} characters of the text x", "x[-{k}:]"),
    ("returns the text x in upper case", "x.upper()"), ("returns the text x reversed", "x[::-1]"),
    ("returns the number of characters of the text x", "len(x)"),
    ("returns the text x without its first {k} characters", "x[{k}:]"),
    ("returns the number of times the letter a occurs in the text x", "x.count('a')"),
)  # fmt: skip
ON_LISTS = (
    ("returns the sum of the list x", "sum(x)"), ("returns the largest element of the list x", "max(x)"),
    ("returns the list x in sorted order", "sorted(x)"), ("returns the first {k} elements of the list x", "x[:{k}]"),
    ("returns the list x in reverse order", "x[::-1]"),
    ("returns the elements of the list x that are greater than {k}", "[y for y in x if y > {k}]"),
    ("returns a list with {k} added to each element of the list x", "[y + {k} for y in x]"),
    ("returns how many elements of the list x equal {k}", "x.count({k})"),
)  # fmt: skip
KINDS = (
    (ON_NUMBERS, ("-3", "0", "4", "11")),
    (ON_TEXTS, ("'banana'", "'a'", "'hello world'")),
    (ON_LISTS, ("[3, 1, 2]", "[5]", "[4, 4, 9, 2, 7]")),
)


def passes(completion: str, example: Example) -> float:
    return unit_tests(completion, replace(example, prompt=()))  # an answer is whole, whatever the prompt


@suite_task("programs", passes)
def programs(random: Random) -> Draft:
    """A function of one argument and one line."""
    kind, arguments = random.choice(KINDS)
    said, expression = random.choice(kind)
    k, name = random.randint(2, 9), random.choice(NAMES)
    said, expression = said.format(k=k), expression.format(k=k)
    tests = "\n".join(f"assert {name}({x}) == (lambda x: {expression})({x})" for x in arguments)
    text = f"Write a Python function {name}(x) that {said}. Write only the code."
    return Draft(f"{said}/{name}", text, f"def {name}(x): return {expression}", {"test": tests})
