"""Instructions whose observance a program can verify: length, format, JSON, language, inclusion, order, and so on.

Source   the idea: IFEval, Zhou et al. 2023 (arXiv 2311.07911); the prompts and checks are this project's own
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random

from scalpel.data.example import Example
from scalpel.rewards.scored import UNREAD
from scalpel.tasks.suite.suite_task import Draft, suite_task
from scalpel.tasks.suite.words import NOUNS, TOPICS

Check = Callable[[str, Example], bool]
# frequent words by which a sentence of a language is told from one of the others
LANGUAGES = {
    "Spanish": [
        "el",
        "la",
        "los",
        "las",
        "un",
        "una",
        "de",
        "que",
        "y",
        "en",
        "es",
        "por",
        "con",
        "para",
        "su",
        "se",
        "del",
        "al",
        "como",
        "mar",
        "muy",
        "más",
        "está",
        "hay",
    ],
    "French": [
        "le",
        "la",
        "les",
        "un",
        "une",
        "des",
        "de",
        "et",
        "est",
        "dans",
        "que",
        "qui",
        "pour",
        "sur",
        "avec",
        "il",
        "elle",
        "au",
        "du",
        "ce",
        "nous",
        "très",
        "sont",
    ],
    "German": [
        "der",
        "die",
        "das",
        "ein",
        "eine",
        "und",
        "ist",
        "in",
        "den",
        "dem",
        "mit",
        "von",
        "zu",
        "auf",
        "nicht",
        "für",
        "im",
        "sich",
        "es",
        "sehr",
        "wir",
        "sind",
    ],
    "Italian": [
        "il",
        "lo",
        "la",
        "gli",
        "le",
        "un",
        "una",
        "di",
        "che",
        "e",
        "è",
        "in",
        "per",
        "con",
        "del",
        "della",
        "si",
        "non",
        "sono",
        "molto",
        "nel",
        "alla",
    ],
    "English": [
        "the",
        "a",
        "an",
        "of",
        "and",
        "is",
        "in",
        "to",
        "that",
        "it",
        "for",
        "on",
        "with",
        "as",
        "are",
        "was",
        "this",
        "by",
        "at",
        "from",
        "very",
    ],
}
BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+\S", re.MULTILINE)
SENTENCE = re.compile(r"[.!?]+(?=\s|$)")
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def judged(completion: str, example: Example) -> float:
    """1 where the answer does what its rule says."""
    text = completion.strip()
    return float(RULES[example.columns["rule"]][1](text, example)) if text else UNREAD


def rule(random: Random, name: str) -> Draft:
    return RULES[name][0](random)


@suite_task("instructions", judged)
def instructions(random: Random) -> Draft:
    """One verifiable instruction."""
    return rule(random, random.choice(tuple(RULES)))


def draft(name: str, text: str, answer: str, **columns: object) -> Draft:
    return Draft(f"{name}/{text}", text, answer, {"rule": name, **columns})


def upper(random: Random) -> Draft:
    topic = random.choice(TOPICS)
    text = f"Write one sentence about {topic}. Use capital letters only."
    return draft("upper", text, f"I LIKE {topic.upper()}.")


def is_upper(text: str, example: Example) -> bool:
    return text.upper() == text and WORD.search(text) is not None


def lower(random: Random) -> Draft:
    topic = random.choice(TOPICS)
    text = f"Write one sentence about {topic}, all in lower case, without a single capital letter."
    return draft("lower", text, f"i like {topic.lower()}.")


def is_lower(text: str, example: Example) -> bool:
    return text.lower() == text and WORD.search(text) is not None


def words(random: Random) -> Draft:
    n, topic = random.randint(2, 6), random.choice(TOPICS)
    text = f"Describe {topic} in exactly {n} words. Write these {n} words and nothing else."
    return draft("words", text, " ".join(("calm", "old", "wide", "bright", "deep", "soft")[:n]), n=n)


def has_words(text: str, example: Example) -> bool:
    return len(WORD.findall(text)) == example.columns["n"]


def at_most(random: Random) -> Draft:
    n, topic = random.choice((10, 15, 20)), random.choice(TOPICS)
    text = f"Say something about {topic} in at most {n} words."
    return draft("at-most", text, f"I like {topic}.", n=n)


def is_short(text: str, example: Example) -> bool:
    return 0 < len(WORD.findall(text)) <= example.columns["n"]


def sentences(random: Random) -> Draft:
    n, topic = random.randint(1, 3), random.choice(TOPICS)
    text = f"Write exactly {n} sentence{'s' if n > 1 else ''} about {topic}."
    return draft("sentences", text, " ".join([f"I like {topic}."] * n), n=n)


def has_sentences(text: str, example: Example) -> bool:
    return len(SENTENCE.findall(text)) == example.columns["n"] and text[-1] in ".!?"


def bullets(random: Random) -> Draft:
    n, topic = random.randint(2, 5), random.choice(TOPICS)
    text = f"List exactly {n} things that have to do with {topic}, as a bulleted list with one line for each."
    return draft("bullets", text, "\n".join(f"- thing {k}" for k in "abcde"[:n]), n=n)


def has_bullets(text: str, example: Example) -> bool:
    return len(BULLET.findall(text)) == example.columns["n"]


def as_json(random: Random) -> Draft:
    keys = random.sample(NOUNS, 2)
    text = (
        f'Answer with a JSON object that has the two keys "{keys[0]}" and "{keys[1]}", each with any number as its '
        "value. Write nothing but the JSON object."
    )
    return draft("json", text, json.dumps(dict.fromkeys(keys, 1)), keys=keys)


def is_json(text: str, example: Example) -> bool:
    fenced = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", text, re.DOTALL)
    try:
        found = json.loads(fenced[1] if fenced else text)
    except ValueError:
        return False
    return isinstance(found, dict) and set(found) == set(example.columns["keys"])


def begins(random: Random) -> Draft:
    word, topic = random.choice(NOUNS).capitalize(), random.choice(TOPICS)
    text = f'Write a sentence about {topic} that begins with the word "{word}".'
    return draft("begins", text, f"{word} and {topic} go together.", word=word)


def does_begin(text: str, example: Example) -> bool:
    return text.lstrip("\"'“*").startswith(example.columns["word"])


def ends(random: Random) -> Draft:
    phrase, topic = random.choice(("That is all.", "The end.", "Thank you.", "Good night.")), random.choice(TOPICS)
    text = f'Write a sentence about {topic}, and finish your answer with exactly these words: "{phrase}"'
    return draft("ends", text, f"I like {topic}. {phrase}", phrase=phrase)


def does_end(text: str, example: Example) -> bool:
    return text.rstrip("\"'”*").endswith(example.columns["phrase"])


def includes(random: Random) -> Draft:
    chosen, topic = random.sample(NOUNS, 2), random.choice(TOPICS)
    text = f'Write a sentence about {topic} in which both the words "{chosen[0]}" and "{chosen[1]}" appear.'
    return draft("includes", text, f"The {chosen[0]} and the {chosen[1]} belong to {topic}.", chosen=chosen)


def does_include(text: str, example: Example) -> bool:
    found = {word.casefold() for word in WORD.findall(text)}
    return found.issuperset(example.columns["chosen"])


def in_order(random: Random) -> Draft:
    chosen = random.sample(NOUNS, 3)
    text = f'Write one sentence that has the words "{chosen[0]}", "{chosen[1]}" and "{chosen[2]}", in this order.'
    return draft("order", text, f"A {chosen[0]}, a {chosen[1]} and a {chosen[2]}.", chosen=chosen)


def is_in_order(text: str, example: Example) -> bool:
    pattern = r"\b.*\b".join(re.escape(word) for word in example.columns["chosen"])
    return re.search(rf"\b{pattern}\b", text, re.IGNORECASE | re.DOTALL) is not None


def quoted(random: Random) -> Draft:
    topic = random.choice(TOPICS)
    text = f"Write one sentence about {topic}, and put your whole answer in double quotation marks."
    return draft("quoted", text, f'"I like {topic}."')


def is_quoted(text: str, example: Example) -> bool:
    return len(text) > 2 and text[0] in '"“' and text[-1] in '"”'


def no_comma(random: Random) -> Draft:
    topic = random.choice(TOPICS)
    text = f"Write two sentences about {topic} without using a single comma."
    return draft("no-comma", text, f"I like {topic}. I do not know why.")


def has_no_comma(text: str, example: Example) -> bool:
    return "," not in text and WORD.search(text) is not None


def in_language(random: Random) -> Draft:
    language, topic = random.choice(tuple(LANGUAGES)[:4]), random.choice(TOPICS)
    text = f"Write one sentence about {topic} in {language}."
    return draft("language", text, " ".join(LANGUAGES[language][:6]).capitalize() + ".", language=language)


def is_in_language(text: str, example: Example) -> bool:
    said = [word.casefold() for word in WORD.findall(text)]
    hits = {name: sum(word in frequent for word in said) for name, frequent in LANGUAGES.items()}
    language = example.columns["language"]
    return hits[language] > 0 and all(hits[language] > hits[other] for other in hits if other != language)


RULES: dict[str, tuple[Callable[[Random], Draft], Check]] = {
    "upper": (upper, is_upper), "lower": (lower, is_lower), "words": (words, has_words), "at-most": (at_most, is_short),
    "sentences": (sentences, has_sentences), "bullets": (bullets, has_bullets), "json": (as_json, is_json),
    "begins": (begins, does_begin), "ends": (ends, does_end), "includes": (includes, does_include),
    "order": (in_order, is_in_order), "quoted": (quoted, is_quoted), "no-comma": (no_comma, has_no_comma),
    "language": (in_language, is_in_language),
}  # fmt: skip
