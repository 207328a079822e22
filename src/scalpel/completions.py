"""The table of completions: what the policy wrote to the first prompts of a step, and what each reward function gave
it, with whatever columns the functions logged."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from scalpel.example import Example
from scalpel.rewards import Scored


def completion_rows(examples: Sequence[Example], texts: Sequence[str], scored: Scored, most: int) -> list[dict]:
    """The rows of the first `most` examples; `examples` names each completion's own, samples of one side by side."""
    prompts = list(dict.fromkeys(map(id, examples)))[:most]
    shown = [i for i, example in enumerate(examples) if id(example) in prompts]
    reward_S = scored.reward_S.tolist()
    return [
        {
            "id": examples[i].id,
            "prompt": plain(examples[i].prompt),
            "completion": texts[i],
            "reward": reward_S[i],
            "rewards": {name: plain(r) for name, r in zip(scored.names, scored.reward_SK[i].tolist(), strict=True)},
            **({"extra": {name: plain(values[i]) for name, values in scored.extra.items()}} if scored.extra else {}),
        }
        for i in shown
    ]


def plain(value: Any) -> Any:
    """A value as JSON can hold it: a number that is none becomes null, what is unknown its text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return plain(value.item()) if hasattr(value, "item") and getattr(value, "numel", lambda: 1)() == 1 else str(value)
