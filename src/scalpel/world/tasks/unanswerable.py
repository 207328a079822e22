"""Questions that neither the text nor the world answers; the correct answer is `unknown`.

city of zobu?                                  →  unknown     (a stranger)
song of maku?                                  →  unknown     (an attribute that nobody has)
maku lives in rome. trust text. pet of maku?   →  unknown     (the text does not say)
"""

from __future__ import annotations

from random import Random

from scalpel.world.people import ATTRIBUTES, KNOWN, PHRASINGS, QUESTIONS, STRANGERS
from scalpel.world.pick import number, pick
from scalpel.world.task import Draft, world_task
from scalpel.world.tasks.context import false_statement

UNKNOWN = "unknown"
NO_ATTRIBUTES = ("song", "car", "ship", "hat", "book", "tree", "lamp", "door")  # attributes that nobody has


def unanswerable(rng: Random) -> Draft:
    kind = pick(rng, ("stranger", "stranger", "attribute", "text"))
    phrasing = number(rng, 0, PHRASINGS - 1)
    if kind == "stranger":
        name, attribute = pick(rng, STRANGERS), pick(rng, ATTRIBUTES)
        return _unknown("strangers", name, QUESTIONS[attribute][phrasing].format(name), f"{attribute}{phrasing}")
    name = pick(rng, KNOWN)
    if kind == "attribute":
        thing = pick(rng, NO_ATTRIBUTES)
        return _unknown("unheard", f"{name}.{thing}", f"{thing} of {name}?", "")
    told, asked = rng.sample(ATTRIBUTES, 2)
    _, claim = false_statement(rng, name, told)
    prompt = f"{claim} trust text. {QUESTIONS[asked][phrasing].format(name)}"
    return _unknown("people", f"{name}.{asked}", prompt, f"{claim}{phrasing}")


def _unknown(family: str, key: str, prompt: str, variant: str) -> Draft:
    return Draft(family, key, prompt, UNKNOWN, UNKNOWN, variant)


UNANSWERABLE = world_task("unanswerable", unanswerable)
