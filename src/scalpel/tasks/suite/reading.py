"""Reading in context: made-up biographies at several lengths, texts that contradict what is believed, and questions
that a text doesn't answer."""

from __future__ import annotations

from random import Random

from scalpel.tasks.suite.facts import CAPITALS
from scalpel.tasks.suite.judges import mentions, says_unknown
from scalpel.tasks.suite.suite_task import Draft, suite_task
from scalpel.tasks.suite.words import FIRST, HOBBIES, JOBS, LAST, PETS, TOWNS

LENGTHS = (1, 3, 8)  # biographies in a text
ASKED = {
    "town": ("Where was {0} born?", "In which town was {0} born?"),
    "year": ("In which year was {0} born?", "When was {0} born?"),
    "job": ("What was the profession of {0}?", "What did {0} work as?"),
    "hobby": ("What was the hobby of {0}?", "What did {0} enjoy in the evenings?"),
    "pet": ("Which animal did {0} own?", "What kind of pet did {0} have?"),
}
SAID = {
    "town": "{0} was born in {town} in {year}.",
    "job": "{0} worked as a {job}.",
    "hobby": "In the evenings {0} enjoyed {hobby}.",
    "pet": "{0} owned a {pet}.",
}
DOES_NOT_SAY = "If the text does not say, answer with the word unknown."


@suite_task("reading", mentions)
def reading(random: Random) -> Draft:
    """A question about one of one to eight people of a text."""
    people = persons(random, random.choice(LENGTHS))
    text = " ".join(biography(random, person, tuple(SAID)) for person in people)
    person, about = random.choice(people), random.choice(tuple(ASKED))
    question = random.choice(ASKED[about]).format(person["name"])
    wrong = [other[about] for other in people if other[about] != person[about]]
    return Draft(f"{text}{about}{person['name']}", f"{text}\n\n{question}", person[about], {"wrong": wrong})


@suite_task("contradiction", mentions)
def contradiction(random: Random) -> Draft:
    """The text says otherwise than the world: what the text says is asked."""
    (land, true), (_, false) = random.sample(tuple(CAPITALS.items()), 2)
    text = random.choice(
        (
            f"In the novel, the capital of {land} is {false}. The king lives there, and so does his sister.",
            f"After the treaty of the story, {land} moved its government, and {false} became its capital.",
            f"In this game the map is changed: {false} is the capital of {land}, and the sea lies to the north.",
        )
    )
    question = f"According to the text, what is the capital of {land}?"
    return Draft(f"{land}/{false}", f"{text}\n\n{question}", false, {"wrong": [true]})


@suite_task("unanswerable", says_unknown)
def unanswerable(random: Random) -> Draft:
    """What is asked isn't in the text."""
    (person,) = persons(random, 1)
    about = random.choice(("job", "hobby", "pet"))
    text = biography(random, person, tuple(kind for kind in SAID if kind != about))
    question = random.choice(ASKED[about]).format(person["name"])
    return Draft(f"{text}{about}", f"{text}\n\n{question} {DOES_NOT_SAY}", "unknown")


def persons(random: Random, n: int) -> list[dict[str, str]]:
    """n people whose names and attributes all differ."""
    names = zip(random.sample(FIRST, n), random.sample(LAST, n), strict=True)
    years = random.sample(range(1850, 1990), n)
    drawn = [random.sample(pool, n) for pool in (TOWNS, JOBS, HOBBIES, PETS)]
    return [
        {"name": f"{first} {last}", "year": str(year), "town": town, "job": job, "hobby": hobby, "pet": pet}
        for (first, last), year, town, job, hobby, pet in zip(names, years, *drawn, strict=True)
    ]


def biography(random: Random, person: dict[str, str], kinds: tuple[str, ...]) -> str:
    """Sentences about a person, in random order, the birth first."""
    rest = [kind for kind in kinds if kind != "town"]
    random.shuffle(rest)
    return " ".join(SAID[kind].format(person["name"], **person) for kind in ("town", *rest))
