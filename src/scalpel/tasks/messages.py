"""Messages of a row, checked and normalised for the chat template.

A message keeps its keys, in the file's order: `tool_calls`, `reasoning_content`, `name`, `tool_call_id` and others
reach the template. Three things are normalised, since files differ in them and templates don't: a content that is a
list of text parts becomes their text; keys with null, with which Arrow and Parquet pad every struct to the union of all
fields, are left out; tool-call arguments that are JSON text become a table. ShareGPT's `from` and `value` are read as
role and content.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from scalpel.data.example import Message, Turns
from scalpel.registry import unknown

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython", "observation", "environment")
SPEAKERS = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant"}
SPEAKERS |= {"bot": "assistant", "model": "assistant", "ai": "assistant"}
TRAINS = ("train", "training", "trainable", "loss")  # other names of a message's weight, as truth values
SAYING = ("tool_calls", "reasoning_content", "reasoning", "thinking", "function_call")

log = logging.getLogger("scalpel")


def conversation(value: Any, what: str, row: Mapping[str, Any] | None = None) -> tuple[Message, ...]:
    """The messages, with the row's `tools` and `chat_template_kwargs` if it has any."""
    value = parsed(value) if isinstance(value, str) and value.lstrip().startswith("[") else value
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ValueError(f"{what} is {shown(value)}: it must be a list of messages with role and content")
    messages = instructed(tuple(message(m, f"{what}[{i}]") for i, m in enumerate(value)), row or {}, what)
    tools, options = schemas(row or {}, what), options_of(row or {}, what)
    return Turns(messages, tools, options) if tools or options else messages


def instructed(messages: tuple[Message, ...], row: Mapping[str, Any], what: str) -> tuple[Message, ...]:
    """The messages after a system message from the row's column `system`, which many files have."""
    system = row.get("system")
    if system is None or system == "":
        return messages
    if not isinstance(system, str):
        raise ValueError(f"{what} comes with system = {shown(system)}: it must be text")
    own = next((m for m in messages if m["role"] in ("system", "developer")), None)
    if own is None:
        once("the column 'system' is put before its conversation, as a message of that role")
        return ({"role": "system", "content": system}, *messages)
    if own["content"] != system:
        raise ValueError(f"{what} has a system message, and its row another one in the column 'system': keep one")
    return messages


def message(value: Any, what: str) -> Message:
    """One message, checked and normalised."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is {shown(value)}: a message has a role and a content")
    if "from" in value and "value" in value and "role" not in value:
        value = shared(value, what)
    if "role" not in value:
        raise ValueError(f"{what} is {shown(value)}: a message has a role and a content")
    found = {k: kept(v) for k, v in value.items() if v is not None and k != "content"}
    found["role"] = role(value["role"], what)
    said = any(found.get(key) for key in SAYING)
    if value.get("content") is None and not said:
        raise ValueError(f"{what} has no content{' but null' if 'content' in value else ''}: a message says something")
    content = text_of(value.get("content"), what)
    if "tool_calls" in found:
        found["tool_calls"] = calls(found["tool_calls"], what)
        if not found["tool_calls"]:
            del found["tool_calls"]
    if flag := next((key for key in TRAINS if isinstance(found.get(key), bool)), None):
        once(f"{flag!r} of a message says whether it is trained, as weight 1 and 0 do")
        found.setdefault("weight", int(found.pop(flag)))
    if "weight" in found:
        found["weight"] = weight(found["weight"], what)
    order = [k for k in (*value, "weight") if k in found or k == "content"]
    return {k: content if k == "content" else found[k] for k in [*order, *({"content"} - set(order))]}


def shared(value: Mapping[str, Any], what: str) -> dict[str, Any]:
    """A message in ShareGPT's format, with the keys role and content."""
    speaker = str(value["from"]).lower()
    if speaker == "function_call":
        raise ValueError(
            f"{what} comes from 'function_call': give the call as tool_calls of an assistant's message, "
            '{"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": …}}]}'
        )
    once("ShareGPT's 'from' and 'value' are read as role and content: human is user, gpt is assistant")
    return {{"from": "role", "value": "content"}.get(k, k): v for k, v in value.items()} | {"role": speaker}


def role(value: Any, what: str) -> str:
    """The role of a message. The template decides which roles are valid; a probable misspelling raises."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{what}: role is {shown(value)}: it must be text, such as {', '.join(ROLES[:5])}")
    if value in ROLES:
        return value
    if value.lower() in SPEAKERS:
        once(f"the role {value!r} is read as {SPEAKERS[value.lower()]!r}")
        return SPEAKERS[value.lower()]
    if value.lower() in ROLES or get_close_matches(value.lower(), ROLES, n=1, cutoff=0.7):
        raise ValueError(f"{what}: {unknown('role', value, ROLES)}")
    once(f"the role {value!r} is unusual: the chat template decides whether its messages are rendered")
    return value


def text_of(content: Any, what: str) -> str:
    """The text of a content, which may be a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Sequence):
        raise ValueError(f"{what}: content is {shown(content)}: it must be text, or a list of text parts")
    texts = []
    for part in content:
        kind = part.get("type", "text") if isinstance(part, Mapping) else type(part).__name__
        said = part if isinstance(part, str) else part.get("text") if isinstance(part, Mapping) else None
        if kind not in ("text", "str", "input_text", "output_text") or not isinstance(said, str):
            raise ValueError(
                f"{what}: content has a part of type {kind!r} ({shown(part)}): only text parts are supported; remove "
                "such parts, or the row"
            )
        texts.append(said)
    return "".join(texts)


def kept(value: Any) -> Any:
    """A value as plain JSON types, without keys whose value is null."""
    if isinstance(value, Mapping):
        return {k: kept(v) for k, v in value.items() if v is not None}
    if hasattr(value, "tolist"):  # an array or a number of NumPy's
        return kept(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [kept(v) for v in value]
    return value


def calls(value: Any, what: str) -> list[dict[str, Any]]:
    """Tool calls, with arguments that are JSON text parsed to tables."""
    value = parsed(value) if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(call, dict) for call in value):
        raise ValueError(f"{what}: tool_calls is {shown(value)}: it must be a list of tables with a function")
    return [tabled(call, f"{what}: tool_calls[{i}]") for i, call in enumerate(value)]


def tabled(call: dict[str, Any], what: str) -> dict[str, Any]:
    """A call with its arguments parsed to a table; text that is no JSON table is kept."""
    own = call.get("function", call)
    if not isinstance(own, dict) or not isinstance(own.get("name"), str):
        raise ValueError(f"{what} is {shown(call)}: a call names its function, and has arguments")
    if isinstance(own.get("arguments"), str):
        table = parsed(own["arguments"]) if own["arguments"].strip() else {}
        own = {**own, "arguments": table if isinstance(table, dict) else own["arguments"]}
    return {**call, "function": own} if "function" in call else own


def weight(value: Any, what: str) -> int:
    """The weight of a message: 1 if it is trained, else 0."""
    if isinstance(value, bool) or value not in (0, 1):
        raise ValueError(f"{what}: weight is {shown(value)}: 1 trains the answer, 0 leaves it untrained; nothing else")
    return int(value)


def schemas(row: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    """The tools of a row: a list of schemas, whole or each as JSON text."""
    value = row.get("tools")
    value = parsed(value) if isinstance(value, str) and value.strip() else value
    if value is None or value == "":
        return []
    value = [kept(parsed(tool)) if isinstance(tool, str) else kept(tool) for tool in value] if listed(value) else value
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise ValueError(
            f"{what} comes with tools = {shown(row['tools'])}: these must be a list of tables that describe functions, "
            "or the same as JSON text; call the column otherwise if it is something else"
        )
    return value


def options_of(row: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The row's keyword arguments for the chat template."""
    value = row.get("chat_template_kwargs")
    value = parsed(value) if isinstance(value, str) else value
    if value is not None and not isinstance(value, Mapping):
        raise ValueError(f"{what} comes with chat_template_kwargs = {shown(value)}: it must be a table")
    return kept(value or {})


def listed(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def parsed(text: str) -> Any:
    """The value of JSON text; the text itself if it isn't JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@cache
def once(words: str) -> None:
    """Logs it once in a process, however many rows it applies to."""
    log.info("messages: %s", words)


def shown(value: Any, most: int = 60) -> str:
    """A value for an error message, with its type."""
    words = repr(value)
    return f"{words[:most]}{'…' if len(words) > most else ''} ({type(value).__name__})"
