"""Messages in the forms that chat templates expect: reasoning under each of its names, tool-call arguments as tables or
as JSON text, contents as text or as a list of parts."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from scalpel.data import reasoning
from scalpel.data.example import Message


def without(message: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {k: v for k, v in message.items() if k not in keys}


def ready(message: Message) -> dict[str, Any]:
    """A message as templates expect it: the reasoning under each key that templates read, no weight, no null
    content."""
    found = {k: v for k, v in message.items() if k != "weight" and v is not None}
    thought = reasoning.reasoning(message)
    named = {"thinking": thought, **found, "reasoning_content": thought} if thought else found
    return {**named, "content": found.get("content", "")}


def in_parts(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with its content as a list of one text part."""
    return {**message, "content": [{"type": "text", "text": message["content"]}]}


def arguments(message: Mapping[str, Any]) -> list[Any]:
    return [call.get("function", call).get("arguments") for call in message.get("tool_calls") or ()]


def tabled(message: Mapping[str, Any]) -> bool:
    """Whether a message has tool calls whose arguments are tables rather than JSON text."""
    return any(isinstance(a, Mapping) for a in arguments(message))


def written_as_python(message: Mapping[str, Any], text: str) -> bool:
    """Whether the template rendered a tool call's arguments by Python's repr, since it expects JSON text."""
    return any(isinstance(a, Mapping) and a and str(a) in text for a in arguments(message))


def as_json(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with arguments of calls as JSON text."""
    if not tabled(message):
        return dict(message)
    calls = []
    for call in message["tool_calls"]:
        own = dict(call.get("function", call))
        if isinstance(own.get("arguments"), Mapping):
            own["arguments"] = json.dumps(own["arguments"], ensure_ascii=False)
        calls.append({**call, "function": own} if "function" in call else own)
    return {**message, "tool_calls": calls}


def check_messages(messages: Sequence[Message], generate: bool) -> None:
    """Raises ValueError unless these are messages with a role and a content, in an order that the template can render;
    with `generate` the last one must not be the assistant's."""
    for i, m in enumerate(messages):
        if not (isinstance(m, dict) or hasattr(m, "keys")) or "role" not in m:
            raise ValueError(f"message {i} is {m!r}: a message is a table with 'role' and 'content'")
        speechless = not any(m.get(key) for key in ("tool_calls", *reasoning.FIELDS))
        if "content" not in m and speechless:
            raise ValueError(f"message {i} is {m!r}: a message is a table with 'role' and 'content'")
        if not isinstance(m.get("content"), str) and (speechless or m.get("content") is not None):
            raise ValueError(f"message {i} has content of type {type(m['content']).__name__}: it must be text")
    if not messages or messages[0]["role"] == "assistant":
        raise ValueError("a conversation must begin with a user or system message, before the assistant's first")
    if generate and messages[-1]["role"] == "assistant":
        raise ValueError(
            "a prompt ends with an assistant message, so there is nothing to answer: put that text into 'completion', "
            "or, where a conversation has two assistant messages in a row, join them"
        )
