"""Channels: what an assistant says in parts with headers, as gpt-oss does, read as a thought and an answer.

Such a part is a header, `<|message|>` and a content up to the next control token:
`<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…`. Without their control tokens,
headers and contents would run together, and no answer would be right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

MESSAGE = "<|message|>"
THOUGHT = re.compile(r"analysis\Z|to=self\Z")
ANSWER = re.compile(r"(?:\A|\s|assistant)(?:final|to=user)?\Z")


def read(ids: Sequence[int], message: int, control: Collection[int], decode: Callable[[Sequence[int]], str]) -> str:
    """The text: thoughts in `<think>…</think>`, answers as they are, and all else behind its header."""
    text = ""
    for header, content, ended in parts(ids, message, control):
        head, said = decode(header), decode(content)
        if THOUGHT.search(head.strip()):
            text += f"<think>\n{said}" + ("\n</think>\n\n" if ended else "")
        else:
            text += said if ANSWER.search(head.strip()) else head + said
    return text


def parts(ids: Sequence[int], message: int, control: Collection[int]) -> list[tuple[list[int], list[int], bool]]:
    """(header, content, whether it has ended) of each part."""
    found: list[tuple[list[int], list[int], bool]] = []
    header: list[int] = []
    content: list[int] | None = None
    for i in ids:
        if content is None:
            if i == message:
                content = []
            else:
                header.append(i)
        elif i in control:
            found.append((header, content, True))
            header, content = [i], None
        else:
            content.append(i)
    return [*found, (header, content, False)] if content is not None else found
