"""The reward of the GRPO bench, called alike by both sides."""

from __future__ import annotations

from typing import Any


def length(completions: list[str], **columns: Any) -> list[float]:
    """Hundreds of characters. Completions of as many tokens differ in characters, so no group is without a gradient
    that could be left out, and the work of a step is known beforehand."""
    return [len(text) / 100 for text in completions]
