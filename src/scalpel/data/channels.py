"""Channels: assistant turns made of parts with headers, as in gpt-oss, decoded to a reasoning block and an answer.

A part is a header, `<|message|>` and a content up to the next control token:
`<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…`. If the control tokens were only
dropped, headers and contents would run together, and verifiers would read no answer correctly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

MESSAGE = "<|message|>"
THOUGHT = re.compile(r"analysis\Z|to=self\Z")
ANSWER = re.compile(r"(?:\A|\s|assistant)(?:final|to=user)?\Z")


def read(ids: Sequence[int], message: int, control: Collection[int], decode: Callable[[Sequence[int]], str]) -> str:
    """The decoded text: reasoning in `<think>…</think>`, answers unchanged, and other parts after their header. A part
    that was cut off has no closing tag."""
    text = ""
    for header, content, ended in parts(ids, message, control):
        head, body = decode(header), decode(content)
        if THOUGHT.search(head.strip()):
            text += f"<think>\n{body}" + ("\n</think>\n\n" if ended else "")
        else:
            text += body if ANSWER.search(head.strip()) else head + body
    return text


def parts(ids: Sequence[int], message: int, control: Collection[int]) -> list[tuple[list[int], list[int], bool]]:
    """(header, content, whether a control token ends it) of each part."""
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
