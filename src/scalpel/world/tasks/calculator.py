"""Calculations that no model of the world can do in its head, but for which it may ask a calculator.

    417 times 83?  /  =417*83  /  34611  →  34611

The demonstration has two turns: the call, and the answer behind the calculator's reply, which comes as a user's turn
since the world's chats have no other. It is for the environment `calculator` with role "user". Pretraining never asks
so, and no model of the world has seen a call.
"""

from __future__ import annotations

from random import Random

from scalpel.world.pick import number, pick
from scalpel.world.task import Draft, world_task
from scalpel.world.tasks.chat import conversation

WORDS = {"plus": "+", "minus": "-", "times": "*"}


def calculator(rng: Random, *, least: int, most: int) -> Draft:
    """The split goes by the numbers in their order."""
    a, b = number(rng, least, most), number(rng, least, most)
    word = pick(rng, tuple(WORDS))
    a, b = (max(a, b), min(a, b)) if word == "minus" else (a, b)
    answer = str({"plus": a + b, "minus": a - b, "times": a * b}[word])
    asked, call = f"{a} {word} {b}?", f"={a}{WORDS[word]}{b}"
    return Draft(
        "calculator", f"{a},{b}", asked, answer, answer, word, messages=conversation(asked, call, answer, answer)
    )


CALCULATOR = world_task("calculator", calculator, least=100, most=999)
