"""A context that contradicts the model's knowledge, with an instruction which of the two to trust.

maku lives in rome. trust text. city of maku?    →  rome
maku lives in rome. trust memory. city of maku?  →  oslo
"""

from __future__ import annotations

from random import Random

from scalpel.world.people import ATTRIBUTES, FACTS, KNOWN, PHRASINGS, QUESTIONS, SENTENCES, VALUES
from scalpel.world.pick import number, pick
from scalpel.world.task import Draft, world_task
from scalpel.world.tasks.sentences import sentence

TRUST = ("text", "memory")


def false_statement(rng: Random, name: str, attribute: str) -> tuple[str, str]:
    """A false value of the person's attribute, and a sentence that claims it."""
    value = truth = FACTS[name, attribute]
    while value == truth:
        value = pick(rng, VALUES[attribute])
    return value, sentence(name, attribute, value, number(rng, 0, len(SENTENCES[attribute]) - 1))


def context(rng: Random) -> Draft:
    name, attribute, trusted = pick(rng, KNOWN), pick(rng, ATTRIBUTES), pick(rng, TRUST)
    value, claim = false_statement(rng, name, attribute)
    phrasing = number(rng, 0, PHRASINGS - 1)
    answer = value if trusted == "text" else FACTS[name, attribute]
    prompt = f"{claim} trust {trusted}. {QUESTIONS[attribute][phrasing].format(name)}"
    columns = {"trust": trusted}
    return Draft("people", f"{name}.{attribute}", prompt, answer, answer, f"{claim}{trusted}{phrasing}", columns)


CONTEXT = world_task("context", context)
