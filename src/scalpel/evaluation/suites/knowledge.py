"""Knowledge as multiple choice: the right continuation among four of a kind, by log-probability. It shows small losses
that a generated answer hides, and asks of base models what they can answer."""

from __future__ import annotations

from random import Random

from scalpel.evaluation.probes.choose import Choice, Choices
from scalpel.tasks.suite.facts import CAPITALS, ELEMENTS, OPPOSITES, PAST

TABLES = (
    ("capital", CAPITALS, ("The capital of {0} is", "The capital city of {0} is called")),
    ("symbol", ELEMENTS, ("The chemical symbol of {0} is", "In chemistry, {0} is written as")),
    ("past", PAST, ("Today they {0}, and yesterday they",)),
    ("opposite", OPPOSITES, ("The opposite of {0} is",)),
)
OTHERS = 3


def knowledge(n: int, seed: int = 0) -> Choices:
    """n facts, each asked in one form; all of them where there are fewer."""
    random = Random(f"knowledge:{seed}")
    facts = [(kind, what) for kind, table, _ in TABLES for what in table]
    random.shuffle(facts)
    return tuple(choice(random, kind, what) for kind, what in facts[:n])


def choice(random: Random, kind: str, what: str) -> Choice:
    _, table, forms = next(row for row in TABLES if row[0] == kind)
    right = table[what]
    wrong = random.sample(sorted({answer for answer in table.values() if answer != right}), OTHERS)
    answers = [right, *wrong]
    random.shuffle(answers)
    prompt = random.choice(forms).format(what)
    return Choice(f"{kind}-{what}", prompt, tuple(f" {answer}." for answer in answers), answers.index(right))
