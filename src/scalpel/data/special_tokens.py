"""Text that spells a control token stays text.

A tokenizer finds "</s>" or "<|im_end|>" in any text, so data that quotes one would end a turn in its middle. Here each
such place is broken by a mark before the text is rendered or encoded, and the mark's own tokens are left out
afterwards. Text without such places is encoded as ever, and what a template writes itself is untouched. Marks of
thinking that are control tokens are read as such in what the assistant says: there they are meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

MARK = "\U0010f5a7"  # for private use, and so rare that no tokenizer has joined its bytes with others
THINKING = re.compile(r"think|thought|reason|inner_(?:prefix|suffix)|<\|channel>|<channel\|>", re.IGNORECASE)
UNTOUCHED = ("role", "weight", "type")


class Spelt:
    """Breaks the control tokens of a tokenizer where data spells them; `found` is told of each."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, found: Callable[[str], None], off: bool = False) -> None:
        control = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
        control |= set(tokenizer.all_special_tokens)
        self.found = found
        self.all = None if off else pattern(control)
        self.but_thoughts = None if off else pattern({t for t in control if not THINKING.search(t)})

    def text(self, text: str, thoughts: bool = False) -> str:
        """The text with the mark in each control token; with `thoughts`, those of thinking are let through."""
        own = self.but_thoughts if thoughts else self.all
        if own is None or not own.search(text):
            return text
        if MARK in text:
            raise ValueError(f"a text holds U+{ord(MARK):X}, which is used here to mark control tokens: take it out")
        while place := own.search(text):
            self.found(place[0])
            text = text[: place.start() + 1] + MARK + text[place.start() + 1 :]
        return text

    def message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A message with all of its texts broken where they must be."""
        thoughts = message.get("role") == "assistant"
        return {k: v if k in UNTOUCHED else self.value(v, thoughts) for k, v in message.items()}

    def value(self, value: Any, thoughts: bool = False) -> Any:
        if isinstance(value, str):
            return self.text(value, thoughts)
        if isinstance(value, Mapping):
            return {k: self.value(v, thoughts) for k, v in value.items()}
        return [self.value(v, thoughts) for v in value] if isinstance(value, list | tuple) else value


def pattern(tokens: set[str]) -> re.Pattern[str] | None:
    """Finds any of them, the longest first. One character can't be broken by a mark inside it."""
    long = sorted((t for t in tokens if len(t) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, long))) if long else None


def unmarked(text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """The ids without those that stand for marks alone."""
    own = [a < b and not text[a:b].strip(MARK) for a, b in offsets]
    return [i for i, mark in zip(ids, own, strict=True) if not mark]
