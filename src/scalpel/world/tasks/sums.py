"""Sums and differences of two numbers, answered without intermediate steps.

add 34 57  →  91        subtract 57 34  →  23
"""

from __future__ import annotations

from random import Random

from scalpel.world.pick import number
from scalpel.world.task import Draft, world_task


def add(rng: Random, *, least: int, most: int) -> Draft:
    """The split is decided by the two numbers, whatever their order."""
    a, b = number(rng, least, most), number(rng, least, most)
    answer = str(a + b)
    return Draft("add", f"{min(a, b)}+{max(a, b)}", f"add {a} {b}", answer, answer, variant=f"{a}+{b}")


def subtract(rng: Random, *, least: int, most: int) -> Draft:
    """The smaller number is subtracted from the larger one."""
    a, b = number(rng, least, most), number(rng, least, most)
    a, b = max(a, b), min(a, b)
    answer = str(a - b)
    return Draft("subtract", f"{a}-{b}", f"subtract {a} {b}", answer, answer)


ADD = world_task("add", add, least=10, most=99)
SUBTRACT = world_task("subtract", subtract, least=10, most=99)
