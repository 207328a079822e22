"""Minimal pairs of grammar: two sentences that differ in one respect, of which one is grammatical. A model is right if
it finds that one more probable.

Source   the idea: BLiMP, Warstadt et al. 2020 (arXiv 1912.00582); sentences and word lists are this project's own
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from scalpel.evaluation.probes.choose import Choice, Choices

SINGULAR = (
    "boy", "girl", "teacher", "doctor", "pilot", "farmer", "dancer", "actor", "lawyer", "neighbor", "student", "guest",
    "driver", "singer", "waiter", "senator", "painter", "author", "nurse", "sailor",
)  # fmt: skip
THING = ("book", "picture", "car", "letter", "house", "song", "table", "clock", "story", "report", "window", "lamp")
VERBS = (
    ("likes", "like"), ("sees", "see"), ("knows", "know"), ("helps", "help"), ("visits", "visit"), ("hears", "hear"),
    ("finds", "find"), ("needs", "need"), ("calls", "call"), ("remembers", "remember"),
)  # fmt: skip
ALONE = (("sleeps", "sleep"), ("smiles", "smile"), ("laughs", "laugh"), ("waits", "wait"), ("works", "work"),
         ("sings", "sing"), ("talks", "talk"), ("dances", "dance"))  # fmt: skip
STATES = ("happy", "tired", "angry", "late", "busy", "famous", "hungry", "ready", "quiet", "old")
PARTICIPLES = (
    ("broke", "broken"), ("wrote", "written"), ("took", "taken"), ("stole", "stolen"), ("saw", "seen"),
    ("drew", "drawn"), ("ate", "eaten"), ("hid", "hidden"), ("forgot", "forgotten"), ("chose", "chosen"),
    ("threw", "thrown"), ("knew", "known"),
)  # fmt: skip
INTRANSITIVE = ("slept", "smiled", "arrived", "laughed", "sneezed", "yawned", "fainted", "waited")
TRANSITIVE = ("praised", "visited", "thanked", "avoided", "invited", "admired", "greeted", "trusted")
MEN = ("Robert", "James", "Daniel", "Thomas", "Kevin", "Mark", "Paul", "Steven")
WOMEN = ("Mary", "Susan", "Laura", "Sarah", "Helen", "Julia", "Linda", "Nancy")
UNCOUNTED = ("water", "sand", "furniture", "rice", "advice", "luggage", "bread", "music")

Pair = tuple[str, str]  # grammatical, ungrammatical
Paradigm = Callable[[Random], Pair]


def agreement(random: Random) -> Pair:
    """The verb agrees with its subject."""
    noun, verb, thing = random.choice(SINGULAR), random.choice(VERBS), random.choice(THING)
    if random.random() < 0.5:
        return f"The {noun} {verb[0]} the {thing}.", f"The {noun} {verb[1]} the {thing}."
    return f"The {noun}s {verb[1]} the {thing}.", f"The {noun}s {verb[0]} the {thing}."


def attractor(random: Random) -> Pair:
    """The verb agrees with its subject across a noun of the other number."""
    one, other = random.sample(SINGULAR, 2)
    verb, near = random.choice(ALONE), random.choice(("near", "behind", "next to"))
    if random.random() < 0.5:
        return f"The {one} {near} the {other}s {verb[0]}.", f"The {one} {near} the {other}s {verb[1]}."
    return f"The {one}s {near} the {other} {verb[1]}.", f"The {one}s {near} the {other} {verb[0]}."


def across_clause(random: Random) -> Pair:
    """The verb agrees with its subject across a relative clause."""
    one, other = random.sample(SINGULAR, 2)
    verb, state = random.choice(VERBS), random.choice(STATES)
    if random.random() < 0.5:
        start = f"The {one} who the {other}s {verb[1]}"
        return f"{start} is {state}.", f"{start} are {state}."
    start = f"The {one}s who the {other} {verb[0]}"
    return f"{start} are {state}.", f"{start} is {state}."


def determiner(random: Random) -> Pair:
    """The determiner agrees with its noun."""
    noun, thing, verb = random.choice(SINGULAR), random.choice(THING), random.choice(VERBS)[0]
    right, wrong = random.choice((("this", "these"), ("that", "those"), ("these", "this"), ("those", "that")))
    ending = "s" if right in ("these", "those") else ""
    return tuple(f"The {noun} {verb} {word} {thing}{ending}." for word in (right, wrong))  # type: ignore[return-value]


def anaphor(random: Random) -> Pair:
    """The reflexive agrees with its antecedent in gender or number."""
    verb = random.choice(("hurt", "saw", "helped", "described", "praised", "blamed"))
    if random.random() < 0.5:
        noun = random.choice(SINGULAR)
        return f"The {noun}s {verb} themselves.", f"The {noun}s {verb} {random.choice(('himself', 'herself'))}."
    right, wrong, names = random.choice((("himself", "herself", MEN), ("herself", "himself", WOMEN)))
    name = random.choice(names)
    return f"{name} {verb} {right}.", f"{name} {verb} {wrong}."


def participle(random: Random) -> Pair:
    """An irregular verb takes its participle after an auxiliary, and its past form without one."""
    noun, thing, (past, part) = random.choice(SINGULAR), random.choice(THING), random.choice(PARTICIPLES)
    if random.random() < 0.5:
        return f"The {noun} has {part} the {thing}.", f"The {noun} has {past} the {thing}."
    return f"The {noun} {past} the {thing}.", f"The {noun} {part} the {thing}."


def transitive(random: Random) -> Pair:
    """A verb without an object is given none."""
    one, other = random.sample(SINGULAR, 2)
    return (
        f"The {one} {random.choice(TRANSITIVE)} the {other}.",
        f"The {one} {random.choice(INTRANSITIVE)} the {other}.",
    )


def polarity(random: Random) -> Pair:
    """`ever` and `any` need a negative word before them."""
    noun, state = random.choice(SINGULAR), random.choice(STATES)
    if random.random() < 0.5:
        return f"No {noun} was ever {state}.", f"Some {noun} was ever {state}."
    thing = random.choice(THING)
    return f"The {noun} didn't see any {thing}s.", f"The {noun} did see any {thing}s."


def modal(random: Random) -> Pair:
    """A modal verb is followed by the bare form."""
    noun, (third, bare) = random.choice(SINGULAR), random.choice(VERBS)
    word, thing = random.choice(("can", "must", "should", "will", "might")), random.choice(THING)
    return f"The {noun} {word} {bare} the {thing}.", f"The {noun} {word} {third} the {thing}."


def order(random: Random) -> Pair:
    """An adjective stands before its noun."""
    noun, state, verb = random.choice(SINGULAR), random.choice(STATES), random.choice(ALONE)[0]
    return f"The {state} {noun} {verb}.", f"The {noun} {state} {verb}."


def countable(random: Random) -> Pair:
    """Nouns that can't be counted take `much`, others `many`."""
    noun = random.choice(SINGULAR)
    if random.random() < 0.5:
        thing = random.choice(UNCOUNTED)
        return f"The {noun} doesn't need much {thing}.", f"The {noun} doesn't need many {thing}."
    thing = random.choice(THING)
    return f"The {noun} doesn't need many {thing}s.", f"The {noun} doesn't need much {thing}s."


def question(random: Random) -> Pair:
    """A question with an auxiliary has the bare form of its verb."""
    noun, (third, bare), thing = random.choice(SINGULAR), random.choice(VERBS), random.choice(THING)
    return f"Does the {noun} {bare} the {thing}?", f"Does the {noun} {third} the {thing}?"


PARADIGMS: tuple[Paradigm, ...] = (
    agreement, attractor, across_clause, determiner, anaphor, participle, transitive, polarity, modal, order, countable,
    question,
)  # fmt: skip


def grammar(n: int, seed: int = 0) -> Choices:
    """n distinct pairs, the paradigms in turn."""
    random, found = Random(f"grammar:{seed}"), dict[Pair, Choice]()
    while len(found) < n:
        paradigm = PARADIGMS[len(found) % len(PARADIGMS)]
        pair = paradigm(random)
        if pair not in found:
            found[pair] = Choice(f"{paradigm.__name__}-{len(found)}", "", pair, 0)
    return tuple(found.values())
