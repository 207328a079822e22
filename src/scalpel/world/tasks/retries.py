"""A second try: a sum, a wrong solution of it, and the word that it was wrong.

    sum 8+5-2 / 8+5=14;14-2=12#12 / wrong. again?  →  8+5=13;13-2=11#11

The wrong solution has one slip and goes on from it. Pretraining never says that something was wrong; a model that has
seen this task knows that it is to answer once more.
"""

from __future__ import annotations

import re
from random import Random

from scalpel.world.pick import number, pick
from scalpel.world.task import Draft, world_task
from scalpel.world.tasks.chat import conversation
from scalpel.world.tasks.worked import STYLES, Step, chains, written

AGAIN = "wrong. again?"
FARTHEST = 10  # that a slip is off


def slipped(text: str, at: int, off: int) -> list[Step]:
    """The steps of a chained sum, of which one is off by so much, but not below 0, and the others follow."""
    first, *terms = re.findall(r"[-+]?\d+", text)
    total, steps = int(first), []
    for k, term in enumerate(terms):
        result = max(0, total + int(term) + (off if k == at else 0))
        steps.append((f"{total}{term}", result))
        total = result
    return steps


def retries(rng: Random, *, least: int, most: int, largest: int) -> Draft:
    """The split goes by the sum, as for the sums themselves."""
    right = chains(rng, least=least, most=most, largest=largest)
    steps = slipped(right.key, 0, 0)
    while str(steps[-1][1]) == right.answer:
        steps = slipped(right.key, number(rng, 0, len(steps) - 1), pick(rng, (-1, 1)) * number(rng, 1, FARTHEST))
    said = written(steps, pick(rng, STYLES))
    return right._replace(prompt=conversation(str(right.prompt), said, AGAIN), variant=said)


RETRIES = world_task("retries", retries, least=3, most=5, largest=20)
