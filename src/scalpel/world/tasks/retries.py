"""A second attempt: a sum, a wrong solution of it, and the message that it was wrong.

    sum 8+5-2 / 8+5=14;14-2=12#12 / wrong. again?  →  8+5=13;13-2=11#11

The wrong solution has an error in one step, and the later steps follow from it. Pretraining contains no message that an
answer was wrong; a model trained on this task knows that it is to answer again.
"""

from __future__ import annotations

import re
from random import Random

from scalpel.world.pick import number, pick
from scalpel.world.task import Draft, world_task
from scalpel.world.tasks.chat import conversation
from scalpel.world.tasks.worked import STYLES, Step, chains, written

AGAIN = "wrong. again?"
MAX_ERROR = 10  # the largest error of a wrong step


def with_error(text: str, at: int, off: int) -> list[Step]:
    """The steps of a chained sum with an error of `off` in step `at`, the results at least 0; later steps follow from
    it."""
    first, *terms = re.findall(r"[-+]?\d+", text)
    total, steps = int(first), []
    for k, term in enumerate(terms):
        result = max(0, total + int(term) + (off if k == at else 0))
        steps.append((f"{total}{term}", result))
        total = result
    return steps


def retries(rng: Random, *, least: int, most: int, largest: int, foreign: float = 0.0) -> Draft:
    """The split is decided by the sum, as in the task `chains`, so that no sum is in two splits. The wrong attempt is
    always in a style of pretraining: it stands for what the model wrote itself."""
    right = chains(rng, least=least, most=most, largest=largest, foreign=foreign)
    steps = with_error(right.key, 0, 0)
    # An error can cancel out at the bound of 0, so the solution is drawn until its last result is wrong.
    while str(steps[-1][1]) == right.answer:
        steps = with_error(right.key, number(rng, 0, len(steps) - 1), pick(rng, (-1, 1)) * number(rng, 1, MAX_ERROR))
    attempt = written(steps, pick(rng, STYLES))
    return right._replace(prompt=conversation(str(right.prompt), attempt, AGAIN), variant=attempt)


RETRIES = world_task("retries", retries, least=3, most=5, largest=20, foreign=0.0)
