"""The table of completions: the policy's completions of a step's first prompts, with the reward of each function and
the columns that the functions logged."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from scalpel.data.example import Example, Message
from scalpel.rewards import Scored
from scalpel.rewards.values import scalar, shown

DEEP = 20  # levels of nested values
DIGITS = 1000  # bits of a whole number that is written as one
LONG = 2000  # characters of the text of something that JSON can't hold


def completion_rows(
    examples: Sequence[Example],
    texts: Sequence[str],
    scored: Scored,
    cut_off: Sequence[bool],
    groups: Sequence[int],
    most: int,
    messages: Sequence[Sequence[Message]] = (),
) -> list[dict]:
    """The rows of the first `most` groups; `examples` names each completion's own, `groups` the number of its group.
    `cut_off`: which completions the limit on tokens ended; `messages`: all of those that are episodes."""
    first = list(dict.fromkeys(groups))[:most]
    shown = [i for i, group in enumerate(groups) if group in first]
    reward_S = scored.reward_S.tolist()
    return [
        {
            "id": examples[i].id,
            "prompt": plain(examples[i].prompt),
            "completion": texts[i],
            "reward": plain(reward_S[i]),
            "rewards": {name: plain(r) for name, r in zip(scored.names, scored.reward_SK[i].tolist(), strict=True)},
            "unread": bool(scored.unread[i]),
            "cut_off": bool(cut_off[i]),
            **({"messages": plain(messages[i])} if messages and messages[i] else {}),
            **({"extra": {name: plain(values[i]) for name, values in scored.extra.items()}} if scored.extra else {}),
        }
        for i in shown
    ]


def plain(value: Any, depth: int = 0) -> Any:
    """A value for JSON: NaN and infinity become null; unknown types, huge integers and too deep nesting become text."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > DIGITS:
        return shown(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if depth == DEEP:
        return shown(value)
    if isinstance(value, dict):
        return {str(k): plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, depth + 1) for v in value]
    number = scalar(value) if hasattr(value, "item") else value
    return shown(value, LONG) if number is value else plain(number, depth + 1)
