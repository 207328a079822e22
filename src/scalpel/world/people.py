"""The people of the world and their attributes: known people, new people and strangers.

Names are all words of the form consonant-vowel-consonant-vowel. A fixed hash orders them: the first are known from
pretraining, the next are new (held out for post-training), all others are strangers, about whom there are no facts.
"""

from __future__ import annotations

from itertools import product
from zlib import crc32

CONSONANTS, VOWELS = "bdfghklmnprstvz", "aeiou"
NAMES = sorted(
    map("".join, product(CONSONANTS, VOWELS, CONSONANTS, VOWELS)), key=lambda name: (crc32(name.encode()), name)
)
KNOWN, NEW, STRANGERS = NAMES[:200], NAMES[200:240], NAMES[240:]

# fmt: off
VALUES: dict[str, tuple[str, ...]] = {
    "city": (
        "oslo", "rome", "paris", "lima", "cairo", "delhi", "tokyo", "quito", "accra", "dakar", "hanoi", "seoul",
        "minsk", "sofia", "milan", "turin", "perth", "miami", "bergen", "geneva", "bogota", "lisbon", "nairobi",
        "havana",
    ),
    "job": (
        "baker", "pilot", "nurse", "judge", "tailor", "farmer", "miner", "guard", "clerk", "singer", "dancer",
        "painter", "sailor", "potter", "barber", "weaver", "doctor", "teacher", "smith", "scribe", "cook", "mason",
        "hunter", "poet",
    ),
    "pet": (
        "cat", "dog", "owl", "fox", "hen", "pig", "cow", "goat", "duck", "crow", "toad", "mouse", "horse", "sheep",
        "camel", "snake",
    ),
    "food": (
        "rice", "soup", "figs", "plums", "beans", "bread", "cheese", "apples", "olives", "onions", "fish", "nuts",
        "corn", "eggs", "honey", "melon", "grapes", "lentils", "pasta", "salad",
    ),
    "year": tuple(str(year) for year in range(1940, 2000)),
}
# fmt: on
ATTRIBUTES = tuple(VALUES)

QUESTIONS: dict[str, tuple[str, ...]] = {
    "city": ("city of {}?", "where does {} live?", "{} lives in?", "home of {}?", "in which city is {}?"),
    "job": ("job of {}?", "what does {} do?", "{} works as?", "trade of {}?", "which job has {}?"),
    "pet": ("pet of {}?", "what pet has {}?", "{} keeps a?", "beast of {}?", "which pet is with {}?"),
    "food": ("food of {}?", "what does {} eat?", "{} likes?", "dish of {}?", "which food has {}?"),
    "year": ("year of {}?", "when was {} born?", "{} was born in?", "birth of {}?", "in which year came {}?"),
}
PHRASINGS = 5

# Each sentence ends with the value and a full stop, so that a sentence cut before the value is a question for it.
SENTENCES: dict[str, tuple[str, ...]] = {
    "city": ("{} lives in {}.", "the home of {} is {}.", "you find {} in {}."),
    "job": ("{} is a {}.", "the job of {} is {}.", "{} works as a {}."),
    "pet": ("{} has a {}.", "the pet of {} is a {}.", "{} keeps a {}."),
    "food": ("{} eats {}.", "the food of {} is {}.", "{} likes {}."),
    "year": ("{} was born in {}.", "the year of {} is {}.", "{} came in {}."),
}

FACTS = {
    (name, attribute): VALUES[attribute][crc32(f"{name}.{attribute}".encode()) % len(VALUES[attribute])]
    for name in KNOWN + NEW
    for attribute in ATTRIBUTES
}
