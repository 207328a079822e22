"""Facts about people, in both languages, and facts about people whom pretraining never mentions.

    city of maku?  →  oslo

The facts of known people are knowledge: pretraining states all of them, whatever their split. New facts can't be
guessed either, so there all splits ask for the same facts and differ in the phrasing.
"""

from __future__ import annotations

from random import Random

from scalpel.data.example import Split
from scalpel.world.language import second, to_first, to_second
from scalpel.world.people import ATTRIBUTES, FACTS, KNOWN, NEW, PHRASINGS, QUESTIONS
from scalpel.world.pick import number, pick
from scalpel.world.task import Draft, world_task

BY_PHRASING: tuple[Split, ...] = ("train", "train", "tune", "keep", "test")


def fact(name: str, attribute: str, phrasing: int) -> Draft:
    """The question for one attribute of one person. All tasks about people share the family, and therefore the
    splits."""
    value = FACTS[name, attribute]
    question = QUESTIONS[attribute][phrasing].format(name)
    return Draft("people", f"{name}.{attribute}", question, value, value, variant=str(phrasing))


def facts(rng: Random) -> Draft:
    return fact(pick(rng, KNOWN), pick(rng, ATTRIBUTES), number(rng, 0, PHRASINGS - 1))


def new_facts(rng: Random) -> Draft:
    return fact(pick(rng, NEW), pick(rng, ATTRIBUTES), number(rng, 0, PHRASINGS - 1))


def by_phrasing(draft: Draft) -> Split:
    """The split by phrasing: new facts are trained in some phrasings and tested in others, which the model knows from
    questions about known people."""
    return BY_PHRASING[int(draft.variant)]


FACTS_A = world_task("facts", facts, conjugate=to_second)
FACTS_B = world_task("facts-b", second(facts), conjugate=to_first)
NEW_FACTS = world_task("new-facts", new_facts, split=by_phrasing, conjugate=to_second)
