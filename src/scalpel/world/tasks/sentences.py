"""Sentences that state facts, as plain text without a chat template.

maku lives in  →   oslo.
"""

from __future__ import annotations

from random import Random

from scalpel.world.people import ATTRIBUTES, FACTS, KNOWN, SENTENCES
from scalpel.world.pick import number, pick
from scalpel.world.task import Draft, world_task


def sentence(name: str, attribute: str, value: str, phrasing: int) -> str:
    """One of the sentences which state that the person's attribute has this value."""
    return SENTENCES[attribute][phrasing].format(name, value)


def fact_sentences(rng: Random) -> Draft:
    name, attribute = pick(rng, KNOWN), pick(rng, ATTRIBUTES)
    phrasing = number(rng, 0, len(SENTENCES[attribute]) - 1)
    value = FACTS[name, attribute]
    text = sentence(name, attribute, value, phrasing)
    cut = text.rindex(value) - 1  # the space before the value is part of the completion
    key = f"{name}.{attribute}"
    return Draft("people", key, text[:cut], text[cut:], value, variant=str(phrasing), plain=True)


SENTENCES_TASK = world_task("fact-sentences", fact_sentences)
