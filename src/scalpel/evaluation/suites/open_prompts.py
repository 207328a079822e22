"""Open questions, for what needs no right answer: fluency, and the drift on text that the base writes."""

from __future__ import annotations

from random import Random

from scalpel.data.example import Prompt
from scalpel.tasks.suite.words import TOPICS

ASKED = (
    "Write a short story about {0}.", "Write a poem of four lines about {0}.",
    "Explain to a child what is special about {0}.", "What do people like about {0}?",
    "Write a letter to a friend about {0}.", "Describe {0} in a few sentences.",
)  # fmt: skip
BEGUN = ("Here is a short text about {0}.\n\n", "Question: Describe {0} in a few sentences.\nAnswer:")


def open_prompts(n: int, plain: bool) -> tuple[Prompt, ...]:
    """n different questions as chat messages, or the beginnings of texts where `plain`."""
    forms = [form.format(topic) for form in (BEGUN if plain else ASKED) for topic in TOPICS]
    Random("open prompts").shuffle(forms)
    if n > len(forms):
        raise ValueError(f"there are {len(forms)} open prompts, but {n} were asked for: ask for fewer")
    return tuple(text if plain else ({"role": "user", "content": text},) for text in forms[:n])
