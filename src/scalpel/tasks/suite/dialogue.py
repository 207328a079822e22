"""Several turns: what was said before must be remembered, and what was asked before may be meant."""

from __future__ import annotations

from random import Random

from scalpel.data.example import Message
from scalpel.tasks.suite.facts import CAPITALS, SPELT
from scalpel.tasks.suite.judges import mentions
from scalpel.tasks.suite.suite_task import Draft, suite_task
from scalpel.tasks.suite.words import HOBBIES, NAMES, PETS, TOWNS

TOLD = (
    ("My name is {0}.", "What is my name?", NAMES),
    ("I live in {0}.", "In which town do I live?", TOWNS),
    ("I have a {0} as a pet.", "Which animal do I have?", PETS),
    ("My favorite hobby is {0}.", "What is my favorite hobby?", HOBBIES),
)
BETWEEN = (
    ("How are you today?", "I am fine, thank you. How can I help you?"),
    ("Can you tell me what two plus two is?", "Two plus two is four."),
    ("Which color is the sky on a clear day?", "On a clear day the sky is blue."),
    ("How many days has a week?", "A week has seven days."),
)


@suite_task("multi-turn", mentions)
def multi_turn(random: Random) -> Draft:
    """Remember what the user said, or carry a question over to something else."""
    return remembered(random) if random.random() < 0.6 else carried(random)


def remembered(random: Random) -> Draft:
    said, question, pool = random.choice(TOLD)
    answer, other = random.choice(pool), random.sample(BETWEEN, random.randint(0, 2))
    turns = [user(said.format(answer)), assistant("Thank you for telling me!")]
    for asked, replied in other:
        turns += [user(asked), assistant(replied)]
    key = f"{said}{answer}{[asked for asked, _ in other]}"
    return Draft(key, (*turns, user(question)), answer)


def carried(random: Random) -> Draft:
    first, second = random.sample(tuple(CAPITALS), 2)
    turns = (
        user(f"What is the capital of {first}?"),
        assistant(f"The capital of {first} is {CAPITALS[first]}."),
        user(f"And what about {second}?"),
    )
    answer = CAPITALS[second]
    return Draft(f"{first}/{second}", turns, answer, {"also": SPELT.get(answer, ())})


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}
