"""Reasoning blocks in assistant messages: their delimiters, and how chat templates treat them.

Some generation prompts open a reasoning block themselves (`<think>`), so that the completion begins inside it; and some
templates omit the reasoning of an answer when they render it for training. In both cases the answer is placed after the
generation prompt as the model would generate it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from scalpel.data.special_tokens import MARK

PAIRS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "<|channel>thought": "<channel|>",
}
TAG = r"[\w:]*(?:think|thought|reasoning)[\w:]*>"  # any other tag with one of these words in its name
BEGIN = "|".join([*map(re.escape, PAIRS), f"<{TAG}"])
END = "|".join([*map(re.escape, PAIRS.values()), f"</{TAG}"])
OPEN = re.compile(rf"({BEGIN})\s*\Z")
CLOSED = re.compile(rf"(?:(?:{BEGIN})\s*)?(?:{END})\s*\Z")
SHUT = re.compile(rf"\s*(?:(?:{BEGIN})\s*)?(?:{END})")
HOLLOW = re.compile(rf"\s*({BEGIN})(\s*)({END})\s*")
FIELDS = ("reasoning_content", "reasoning", "thinking")  # keys of a message that hold its reasoning, all equivalent


def is_mark(token: str) -> bool:
    """Whether a token is a thinking delimiter such as <think> or </think>, or a prefix of one."""
    return bool(re.fullmatch(f"{BEGIN}|{END}", token)) or any(
        mark.startswith(token) for mark in PAIRS if len(token) > 3
    )


def opened(asked: str) -> re.Match[str] | None:
    """The delimiter with which a generation prompt opens a reasoning block, and the white space after it."""
    return OPEN.search(asked)


def closing(mark: str) -> str:
    """The closing delimiter for this opening one."""
    return PAIRS.get(mark) or mark.replace("<", "</", 1)


def hollow(said: str) -> re.Match[str] | None:
    """An empty reasoning block at the beginning of a text; its groups are the delimiters and the white space
    between."""
    found = HOLLOW.match(said)
    return found if found and closing(found[1]) == found[3] else None


def past_closed(said: str) -> str:
    """The text without an empty reasoning block, or the end of one, at its beginning."""
    found = SHUT.match(said)
    return said[found.end() :] if found else said


def own(source: str) -> str:
    """The delimiters of reasoning in a template's source; <think>…</think> if it has none of the known ones."""
    return next((f"{a}…{b}" for a, b in PAIRS.items() if b in source), "<think>…</think>")


def closed_at_once(asked: str) -> re.Match[str] | None:
    """An empty reasoning block at the end of a generation prompt, or a closing delimiter there."""
    return CLOSED.search(asked)


def reasoning(message: Mapping[str, Any]) -> str:
    """The reasoning that a message has under a key of its own; empty if it has none."""
    return next((message[k] for k in FIELDS if isinstance(message.get(k), str) and message[k]), "")


def divided(content: str, end: str | None = None) -> tuple[str, str, str]:
    """The reasoning with its closing delimiter, the white space after it, and the answer. The reasoning is empty where
    no block is closed."""
    for close in [end] if end else PAIRS.values():
        before, mark, after = content.rpartition(close)
        if mark:
            answer = after.lstrip()
            return before + mark, after[: len(after) - len(answer)], answer
    return "", "", content


def inside(thought: str, mark: str) -> str:
    """The reasoning without its opening delimiter."""
    return thought.removeprefix(mark) if not (bare := thought.lstrip()).startswith(mark) else bare.removeprefix(mark)


def gist(text: str) -> str:
    """A text without white space and marks of control tokens, to compare texts that a template may have reformatted."""
    return "".join(text.split()).replace(MARK, "")


def foreign(thought: str, source: str) -> str:
    """The closing delimiter of reasoning in the data, if the template's source has other delimiters and not this
    one."""
    end = next((b for b in PAIRS.values() if thought.endswith(b)), "")
    return end if end and end not in source and any(b in source for b in PAIRS.values()) else ""
