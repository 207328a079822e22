"""The second language: a fixed cipher from lower-case to upper-case letters, so that the languages share no letter.

Digits, space and punctuation mean the same in both. Whoever knows a thing in one language only can be told apart
from who has lost it: the same item in the other language is its conjugate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from string import ascii_lowercase, ascii_uppercase
from zlib import crc32

from scalpel.data.example import Example, Prompt
from scalpel.world.task import Draft, Generator

CIPHER = dict(zip(ascii_lowercase, sorted(ascii_uppercase, key=lambda c: crc32(c.encode() * 3)), strict=True))
THERE = str.maketrans(CIPHER)
BACK = str.maketrans({b: a for a, b in CIPHER.items()})


def encipher(text: str) -> str:
    """The text in the second language."""
    return text.translate(THERE)


def decipher(text: str) -> str:
    """The text of the second language, in the first."""
    return text.translate(BACK)


def second(generate: Generator) -> Generator:
    """The generator whose drafts say the same in the second language; their split is that of the first."""

    def translated(rng: Random, **difficulty: int) -> Draft:
        draft = generate(rng, **difficulty)
        assert isinstance(draft.prompt, str), "only single questions have a second language"
        return draft._replace(
            prompt=encipher(draft.prompt),
            completion=encipher(draft.completion),
            answer=encipher(draft.answer),
        )

    return translated


def to_second(example: Example) -> tuple[Example, Callable[[str], str]]:
    """The conjugate of a first-language item, with the function that turns its completion back."""
    return _translated(example, encipher), decipher


def to_first(example: Example) -> tuple[Example, Callable[[str], str]]:
    """The conjugate of a second-language item, with the function that turns its completion back."""
    return _translated(example, decipher), encipher


def _translated(example: Example, say: Callable[[str], str]) -> Example:
    prompt: Prompt = (
        say(example.prompt)
        if isinstance(example.prompt, str)
        else tuple({**turn, "content": say(turn["content"])} for turn in example.prompt)
    )
    return replace(
        example,
        prompt=prompt,
        completion=say(example.completion or ""),
        answer=say(example.answer or ""),
        id=f"{example.id}~",
    )
