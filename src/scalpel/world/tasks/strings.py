"""Procedures on words: reverse and sort the letters, in both languages.

    reverse tapir  →  ripat        sort tapir  →  aiprt

Pretraining has words of up to eight letters; `reverse-long` starts at nine and is held out for post-training.
"""

from __future__ import annotations

from random import Random
from string import ascii_lowercase

from scalpel.world.language import second, to_first, to_second
from scalpel.world.pick import number, pick
from scalpel.world.task import Draft, world_task


def word(rng: Random, least: int, most: int) -> str:
    return "".join([pick(rng, ascii_lowercase) for _ in range(number(rng, least, most))])


def reverse(rng: Random, *, least: int, most: int) -> Draft:
    text = word(rng, least, most)
    return Draft("reverse", text, f"reverse {text}", text[::-1], text[::-1])


def sort(rng: Random, *, least: int, most: int) -> Draft:
    """The split is decided by the letters, not by their order, so that no answer is in two splits."""
    text = word(rng, least, most)
    answer = "".join(sorted(text))
    return Draft("sort", answer, f"sort {text}", answer, answer, variant=text)


# The second language sorts in the order of the first language's letters, so the cipher is the only difference.
REVERSE = world_task("reverse", reverse, conjugate=to_second, least=3, most=8)
REVERSE_B = world_task("reverse-b", second(reverse), conjugate=to_first, least=3, most=8)
REVERSE_LONG = world_task("reverse-long", reverse, conjugate=to_second, least=9, most=12)
SORT = world_task("sort", sort, conjugate=to_second, least=3, most=8)
SORT_B = world_task("sort-b", second(sort), conjugate=to_first, least=3, most=8)
