"""The second language: a fixed cipher from lower-case to upper-case letters, so that the languages share no letter.

Digits, space and punctuation are shared. The same item in the other language is its conjugate: a model that fails on an
item but solves its conjugate still has the knowledge or skill, and only one form of access to it is lost.
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
TO_SECOND = str.maketrans(CIPHER)
TO_FIRST = str.maketrans({b: a for a, b in CIPHER.items()})


def encipher(text: str) -> str:
    """The text in the second language."""
    return text.translate(TO_SECOND)


def decipher(text: str) -> str:
    """The text of the second language, in the first."""
    return text.translate(TO_FIRST)


def second(generate: Generator) -> Generator:
    """A generator of the same drafts in the second language. The key stays that of the first language, and with it the
    split, so that an item and its conjugate are never in different splits."""

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
    """The conjugate of a first-language item, with the function that translates its completion back."""
    return _translated(example, encipher), decipher


def to_first(example: Example) -> tuple[Example, Callable[[str], str]]:
    """The conjugate of a second-language item, with the function that translates its completion back."""
    return _translated(example, decipher), encipher


def _translated(example: Example, translate: Callable[[str], str]) -> Example:
    prompt: Prompt = (
        translate(example.prompt)
        if isinstance(example.prompt, str)
        else tuple({**turn, "content": translate(turn["content"])} for turn in example.prompt)
    )
    return replace(
        example,
        prompt=prompt,
        completion=translate(example.completion or ""),
        answer=translate(example.answer or ""),
        id=f"{example.id}~",
    )
