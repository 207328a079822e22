"""Arithmetic and word problems, easy enough for small models to have something to lose."""

from __future__ import annotations

from random import Random

from scalpel.tasks.suite.judges import last_number
from scalpel.tasks.suite.suite_task import Draft, suite_task
from scalpel.tasks.suite.words import NAMES, THINGS

FORMS = ("What is {0}?", "Calculate {0}.", "{0} =", "Compute {0} and give only the result.")
STORIES = (
    ("{n} has {a} {t}. {m} gives {n} {b} more. How many {t} does {n} have now?", lambda a, b, c: a + b),
    ("{n} had {s} {t} and gave {b} of them to {m}. How many {t} does {n} have left?", lambda a, b, c: a),
    ("There are {c} boxes with {b} {t} in each. How many {t} are there in all?", lambda a, b, c: b * c),
    ("{n} shares {p} {t} equally among {c} friends. How many {t} does each friend get?", lambda a, b, c: b),
    ("{n} buys {c} {t} at {b} dollars each and pays with {h} dollars. How much change in dollars does {n} get?",
     lambda a, b, c: a),
    ("{n} has {a} {t}, {m} has {b} more than {n}. How many {t} do they have together?", lambda a, b, c: 2 * a + b),
    ("A shop sold {a} {t} on Monday, {b} on Tuesday and {c} on Wednesday. How many {t} did it sell in all?",
     lambda a, b, c: a + b + c),
)  # fmt: skip


@suite_task("arithmetic", last_number)
def arithmetic(random: Random) -> Draft:
    """Sums, differences and products of one and two digits."""
    kind, largest = random.choice("++--*"), random.choice((9, 20, 99))
    a, b = random.randint(1, largest), random.randint(1, largest)
    if kind == "*":
        a, b = random.randint(2, 12), random.randint(2, 9)
    if kind == "-":
        a, b = max(a, b), min(a, b)
    value = {"+": a + b, "-": a - b, "*": a * b}[kind]
    form = random.choice(FORMS)
    return Draft(f"{a}{kind}{b}", form.format(f"{a} {kind} {b}"), str(value))


@suite_task("word-problems", last_number)
def word_problems(random: Random) -> Draft:
    """One or two steps, with names and things that change."""
    story, solve = random.choice(STORIES)
    a, b, c = random.randint(2, 20), random.randint(2, 9), random.randint(2, 6)
    n, m = random.sample(NAMES, 2)
    text = story.format(n=n, m=m, t=random.choice(THINGS), a=a, b=b, c=c, s=a + b, p=b * c, h=b * c + a)
    return Draft(text, text, str(solve(a, b, c)))
