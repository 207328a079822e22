"""Conversations in which most last turns can be answered only from the earlier turns.

city of maku? / oslo / and pet?          →  camel
i am bodo. / hello bodo. / who am i?     →  bodo
hi / hello. / city of maku?              →  oslo
reverse tapir / ripat / and back?        →  tapir
"""

from __future__ import annotations

from random import Random

from scalpel.data.example import Message
from scalpel.world.people import ATTRIBUTES, FACTS, KNOWN, PHRASINGS, QUESTIONS, STRANGERS
from scalpel.world.pick import number, pick
from scalpel.world.task import Draft, world_task
from scalpel.world.tasks.strings import word

GREETINGS = ("hi", "hello", "good day")


def conversation(*texts: str) -> tuple[Message, ...]:
    """Messages with alternating roles, beginning with the user."""
    roles = ("user", "assistant")
    return tuple([{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)])


def follow_up(rng: Random) -> Draft:
    name = pick(rng, KNOWN)
    first, second = rng.sample(ATTRIBUTES, 2)
    phrasing = number(rng, 0, PHRASINGS - 1)
    turns = conversation(QUESTIONS[first][phrasing].format(name), FACTS[name, first], f"and {second}?")
    answer = FACTS[name, second]
    return Draft("people", f"{name}.{second}", turns, answer, answer, f"{first}{phrasing}")


def introduction(rng: Random) -> Draft:
    name = pick(rng, STRANGERS)
    turns = conversation(f"i am {name}.", f"hello {name}.", "who am i?")
    return Draft("strangers", name, turns, name, name, "introduction")


def greeting(rng: Random) -> Draft:
    name, attribute, hello = pick(rng, KNOWN), pick(rng, ATTRIBUTES), pick(rng, GREETINGS)
    phrasing = number(rng, 0, PHRASINGS - 1)
    turns = conversation(hello, "hello.", QUESTIONS[attribute][phrasing].format(name))
    answer = FACTS[name, attribute]
    return Draft("people", f"{name}.{attribute}", turns, answer, answer, f"{hello}{phrasing}")


def back_again(rng: Random) -> Draft:
    text = word(rng, 3, 8)
    turns = conversation(f"reverse {text}", text[::-1], "and back?")
    return Draft("reverse", text, turns, text, text, "back")


KINDS = (follow_up, follow_up, introduction, greeting, back_again)


def chat(rng: Random) -> Draft:
    return pick(rng, KINDS)(rng)


CHAT = world_task("chat", chat)
