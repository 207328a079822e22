"""Thoughts in what an assistant says: how they are marked, and what a template does with them.

Some generation prompts open a thought themselves (`<think>`), so what the model writes begins inside it; and some
templates leave the thought out of an answer when they render it for training. In both cases the answer is put behind
the generation prompt as the model would write it.
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
TAG = r"[\w:]*(?:think|thought|reasoning)[\w:]*>"  # and tags that are called so
BEGIN = "|".join([*map(re.escape, PAIRS), f"<{TAG}"])
END = "|".join([*map(re.escape, PAIRS.values()), f"</{TAG}"])
OPEN = re.compile(rf"({BEGIN})\s*\Z")
CLOSED = re.compile(rf"(?:(?:{BEGIN})\s*)?(?:{END})\s*\Z")
SHUT = re.compile(rf"\s*(?:(?:{BEGIN})\s*)?(?:{END})")
HOLLOW = re.compile(rf"\s*({BEGIN})(\s*)({END})\s*")
FIELDS = ("reasoning_content", "reasoning", "thinking")  # under which of them data has it doesn't matter


def is_mark(token: str) -> bool:
    """Whether a token is a thinking delimiter such as <think> or </think>, or a prefix of one."""
    return bool(re.fullmatch(f"{BEGIN}|{END}", token)) or any(
        mark.startswith(token) for mark in PAIRS if len(token) > 3
    )


def opened(asked: str) -> re.Match[str] | None:
    """The mark with which a generation prompt opens a thought, and the white space behind it."""
    return OPEN.search(asked)


def closing(mark: str) -> str:
    """The mark that closes a thought which this one opens."""
    return PAIRS.get(mark) or mark.replace("<", "</", 1)


def hollow(said: str) -> re.Match[str] | None:
    """A thought without words at the beginning of what is said; its groups are the marks and what is between them."""
    found = HOLLOW.match(said)
    return found if found and closing(found[1]) == found[3] else None


def past_closed(said: str) -> str:
    """What is said, without the end of an empty thought with which it begins."""
    found = SHUT.match(said)
    return said[found.end() :] if found else said


def own(source: str) -> str:
    """How a template marks thoughts, from its text: <think>…</think> where it tells nothing else."""
    return next((f"{a}…{b}" for a, b in PAIRS.items() if b in source), "<think>…</think>")


def closed_at_once(asked: str) -> re.Match[str] | None:
    """An empty thought at the end of a generation prompt, or the mark that ends one."""
    return CLOSED.search(asked)


def reasoning(message: Mapping[str, Any]) -> str:
    """The thought that a message has in a field of its own."""
    return next((message[k] for k in FIELDS if isinstance(message.get(k), str) and message[k]), "")


def divided(content: str, end: str | None = None) -> tuple[str, str, str]:
    """Thought with its closing mark, the white space behind it, and the answer; no thought where none is closed."""
    for close in [end] if end else PAIRS.values():
        before, mark, after = content.rpartition(close)
        if mark:
            answer = after.lstrip()
            return before + mark, after[: len(after) - len(answer)], answer
    return "", "", content


def inside(thought: str, mark: str) -> str:
    """A thought as it goes on behind the mark that opens it."""
    return thought.removeprefix(mark) if not (bare := thought.lstrip()).startswith(mark) else bare.removeprefix(mark)


def gist(text: str) -> str:
    """A text without white space and marks: what is the same in what a template makes of it."""
    return "".join(text.split()).replace(MARK, "")


def foreign(thought: str, source: str) -> str:
    """The mark that closes a thought of data, where the template's text knows others and not this one."""
    end = next((b for b in PAIRS.values() if thought.endswith(b)), "")
    return end if end and end not in source and any(b in source for b in PAIRS.values()) else ""
