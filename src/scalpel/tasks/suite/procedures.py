"""Copying, sorting and other procedures on short lists."""

from __future__ import annotations

from random import Random

from scalpel.tasks.suite.judges import exact_line, last_number, same_line
from scalpel.tasks.suite.suite_task import Draft, suite_task
from scalpel.tasks.suite.words import NOUNS


@suite_task("copy", exact_line)
def copy(random: Random) -> Draft:
    """Repeat a line word for word."""
    line = " ".join(random.sample(NOUNS, random.randint(2, 8)))
    prompt = random.choice(("Repeat exactly, and write nothing else: {0}", "Copy this line word for word: {0}"))
    return Draft(line, prompt.format(line), line)


@suite_task("sort", same_line)
def sort(random: Random) -> Draft:
    """Sort words by the alphabet."""
    words = random.sample(NOUNS, random.randint(2, 5))
    prompt = f"Sort these words alphabetically and write them on one line, separated by commas: {', '.join(words)}"
    return Draft(",".join(words), prompt, ", ".join(sorted(words)))


@suite_task("reverse", same_line)
def reverse(random: Random) -> Draft:
    """Write a list from its end."""
    words = random.sample(NOUNS, random.randint(2, 5))
    prompt = f"Write this list in reverse order on one line, separated by commas: {', '.join(words)}"
    return Draft(",".join(words), prompt, ", ".join(reversed(words)))


@suite_task("count", last_number)
def count(random: Random) -> Draft:
    """Count the words of a list."""
    words = random.sample(NOUNS, random.randint(2, 9))
    return Draft(",".join(words), f"How many words are in this list? {', '.join(words)}", str(len(words)))


@suite_task("upper-case", exact_line)
def upper_case(random: Random) -> Draft:
    """Write words in capital letters."""
    line = " ".join(random.sample(NOUNS, random.randint(1, 4)))
    return Draft(line, f"Write this in capital letters, and nothing else: {line}", line.upper())
