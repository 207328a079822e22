"""Control tokens that are spelt out in data are tokenised as ordinary text.

A tokenizer finds "</s>" or "<|im_end|>" in any text, so data that quotes one would end a turn in its middle. Here a
mark is inserted into each such place before the text is rendered or encoded, and the mark's own tokens are removed
afterwards. Text without such places is encoded as usual, and the control tokens of the template itself are unchanged.
Reasoning delimiters that are control tokens keep their meaning in assistant messages, where they are intended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

MARK = "\U0010f5a7"  # from a private use area, so rare that no tokenizer has merged its bytes with others
THINKING = re.compile(r"think|thought|reason|inner_(?:prefix|suffix)|<\|channel>|<channel\|>", re.IGNORECASE)
UNTOUCHED = ("role", "weight", "type")


class ControlText(str):
    """Text in which control tokens that are spelt out are meant as tokens, such as a whole conversation as a
    pretraining document. Only the program makes it: a text from a file never is one, so data can't end a turn."""


class Spelt:
    """Inserts a mark into control tokens that are spelt out in data; `found` is called with each of them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, found: Callable[[str], None], off: bool = False) -> None:
        control = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
        control |= set(tokenizer.all_special_tokens)
        self.found = found
        self.all = None if off else pattern(control)
        self.but_thoughts = None if off else pattern({t for t in control if not THINKING.search(t)})

    def text(self, text: str, thoughts: bool = False) -> str:
        """The text with a mark in each control token; with `thoughts`, reasoning delimiters are left unchanged."""
        own = self.but_thoughts if thoughts else self.all
        if isinstance(text, ControlText) or own is None or not own.search(text):
            return text
        if MARK in text:
            raise ValueError(f"a text contains U+{ord(MARK):X}, which is reserved to mark control tokens: remove it")
        while place := own.search(text):
            self.found(place[0])
            text = text[: place.start() + 1] + MARK + text[place.start() + 1 :]
        return text

    def message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A message with marks in all of its texts that need them."""
        thoughts = message.get("role") == "assistant"
        return {k: v if k in UNTOUCHED else self.value(v, thoughts) for k, v in message.items()}

    def value(self, value: Any, thoughts: bool = False) -> Any:
        if isinstance(value, str):
            return self.text(value, thoughts)
        if isinstance(value, Mapping):
            return {k: self.value(v, thoughts) for k, v in value.items()}
        return [self.value(v, thoughts) for v in value] if isinstance(value, list | tuple) else value


def pattern(tokens: set[str]) -> re.Pattern[str] | None:
    """A pattern for any of the tokens, the longest first. A token of one character can't hold a mark inside it."""
    long = sorted((t for t in tokens if len(t) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, long))) if long else None


def unmarked(text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """The ids without those that encode marks alone."""
    own = [a < b and not text[a:b].strip(MARK) for a, b in offsets]
    return [i for i, mark in zip(ids, own, strict=True) if not mark]
