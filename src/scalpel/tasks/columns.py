"""Conversion of data rows to Examples, by the column names that TRL uses.

    text                        plain language modelling: every token is trained
    messages                    a conversation: every assistant turn is trained, except those with `weight` 0; a row may
                                also have `tools` and `chat_template_kwargs`
    conversations               the same in ShareGPT's format (from and value)
    prompt                      a prompt for the model (with `answer` or `solution` for a verifier)
    prompt, completion          a demonstration; with `label` (true or false) an unpaired preference; without a
                                completion a label may be anything, and is for reward functions
    prompt, chosen, rejected    a preference pair; the prompt may be implicit in both

Prompts are text or messages; where they are messages, answers may be messages too. All other columns are kept and
reach reward functions by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from itertools import takewhile
from math import isfinite
from typing import Any

from scalpel.data.example import (
    Example,
    Message,
    Prompt,
    template_arguments,
    with_arguments_of,
)
from scalpel.registry import unknown
from scalpel.tasks.messages import SAYING, conversation, shown

KNOWN = (
    "text", "messages", "conversations", "prompt", "completion", "answer", "solution", "chosen", "rejected", "label",
    "id",
)  # fmt: skip
PAIR = ("chosen", "rejected")
PLACE = re.compile(r"\{([^{}]+)\}")  # the place of a column in a text that combines several
WORDS = {"true": True, "false": False, "1": True, "0": False}  # labels in files of text


class Cell(str):
    """A value from a file format without types, such as CSV: the text may stand for a number or a truth value."""


def renamed(row: Mapping[str, Any], columns: Mapping[str, str], where: str) -> dict[str, Any]:
    """The row with the column names of this module. `columns` maps these to the file's, {prompt = "question"}, or to a
    text that combines several: {prompt = "{context} {question}"}."""
    new = {}
    for ours, theirs in columns.items():
        asked = [theirs] if theirs in row else PLACE.findall(theirs) or [theirs]
        for name in asked:
            if name not in row:
                raise ValueError(f"{where}: columns says {ours} = {theirs!r}, but: {unknown('column', name, row)}")
        new[ours] = row[theirs] if theirs in row else PLACE.sub(lambda place: filled(row[place[1]]), theirs)
    taken = set(columns.values()) - set(columns)
    return {**{k: v for k, v in row.items() if k not in taken}, **new}


def filled(value: Any) -> str:
    """A value in a text that combines several columns; null gives the empty text."""
    return "" if value is None else str(value)


def refuse_misspelt(row: Mapping[str, Any], columns: Mapping[str, str], where: str) -> None:
    """Raises ValueError where a column name resembles a known one that is missing."""
    if wrong := misspelt(tuple(row), frozenset(columns)):
        name, near = wrong
        raise ValueError(
            f"{where}: column {name!r}: did you mean {near!r}? Rename it, or map it in the recipe: columns = "
            f"{{{near} = {name!r}}}; if it is meant, say columns = {{{name} = {name!r}}}"
        )


@lru_cache(maxsize=1024)  # close matches are slow to find, and the rows of a file have few different sets of columns
def misspelt(names: tuple[str, ...], mapped: frozenset[str]) -> tuple[str, str] | None:
    """The first column name that resembles a known one that is missing, and the known one."""
    missing = [k for k in KNOWN if k not in names and k != "id"]
    for name in names:
        near = [] if name in KNOWN or name in mapped else get_close_matches(name.lower(), missing, n=1, cutoff=0.8)
        if near:
            return name, near[0]
    return None


def example(row: Mapping[str, Any], where: str, columns: Mapping[str, str] | None = None) -> Example:
    """The Example of a row; a ValueError that begins with `where` if the row is invalid."""
    row = renamed(row, columns or {}, where)
    refuse_misspelt(row, columns or {}, where)
    asked_only = "label" in row and row.get("completion") is None  # without a completion a label is no preference
    others = {k: v for k, v in row.items() if k not in KNOWN or k == "solution" or (k == "label" and asked_only)}
    row = {k: v for k, v in row.items() if v is not None}  # null is no value; rewards see it as None
    common: dict[str, Any] = dict(
        answer=answer(row, where), label=label(row, where), id=str(row.get("id", "")), columns=others
    )  # fmt: skip
    row = asking(row, where)
    if "messages" in row or ("conversations" in row and not {"prompt", "chosen", "rejected", "text"} & row.keys()):
        name = "messages" if "messages" in row else "conversations"
        messages = conversation(row[name], f"{where}: {name}", row)
        refuse_order(messages, f"{where}: {name}")
        pair: dict[str, Any] = {}
        if paired(row):
            pair = dict(zip(("prompt", "chosen", "rejected"), preference(row, where), strict=True))
        return Example(messages=messages, tools=template_arguments(messages)[0], **pair, **common)
    if "chosen" in row or "rejected" in row:
        prompt, chosen, rejected = preference(row, where)
        said = said_of(row["completion"], f"{where}: completion") if "completion" in row else None
        common |= {"prompt": prompt, "tools": template_arguments(prompt)[0]}
        return Example(completion=said, chosen=chosen, rejected=rejected, **common)
    if "prompt" in row:
        prompt = prompt_of(row["prompt"], f"{where}: prompt", row)
        return Example(prompt=prompt, tools=template_arguments(prompt)[0], **demonstrated(row, prompt, where), **common)
    if "text" in row:
        return Example(completion=text(row["text"], f"{where}: text"), **common)
    raise ValueError(
        f"{where}: none of the columns prompt, messages, text, or chosen and rejected; it has "
        f'{", ".join(row) or "none"}. Map yours in the recipe, such as columns = {{prompt = "question"}}'
    )


def text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} is {shown(value)}: it must be text")
    if not value:
        raise ValueError(f"{what} is empty")
    return value


def answer(row: Mapping[str, Any], where: str) -> str | None:
    """The reference answer as text. Numbers are written out, whole ones without a fraction, since 7 and 7.0 are
    equal."""
    name = "answer" if "answer" in row else "solution"
    if name not in row:
        return None
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"{where}: {name} is {shown(value)}: it must be text or a number")
    if isinstance(value, str | int):
        return str(value)
    if not isfinite(value):
        raise ValueError(f"{where}: {name} is {value}: it must be text or a finite number")
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 1e16 else str(value)


def label(row: Mapping[str, Any], where: str) -> bool | None:
    if "label" not in row or ("prompt" not in row and "messages" not in row):
        return None
    value = row["label"]
    if isinstance(value, Cell):
        value = WORDS.get(value.strip().lower(), value)
    odd = str(value).strip().lower() not in WORDS  # a class, a score or a list, which is no preference
    if odd and "completion" not in row:
        return None
    if isinstance(value, str) or value not in (True, False):
        raise ValueError(f"{where}: label is {shown(value)}: it must be true or false")
    return bool(value)


def asking(row: dict[str, Any], where: str) -> dict[str, Any]:
    """The row with its conversation as the prompt, if that ends before an assistant turn and the row has a pair."""
    name = next((k for k in ("messages", "conversations") if k in row), None)
    if name is None or "prompt" in row or not paired(row):
        return row
    turns = conversation(row[name], f"{where}: {name}", row)
    if turns[-1]["role"] == "assistant":
        return row
    return {k: v for k, v in row.items() if k != name} | {"prompt": row[name]}


def refuse_order(messages: Sequence[Message], what: str) -> None:
    """Raises ValueError for an assistant turn that is first, or that follows another one: chat templates don't define
    the generation prompt there."""
    for i, m in enumerate(messages):
        if m["role"] != "assistant" or not m.get("weight", 1):
            continue
        if i == 0:
            raise ValueError(f"{what} begins with the assistant: it must begin with a user or system message before it")
        if messages[i - 1]["role"] == "assistant":
            raise ValueError(
                f"{what}[{i}] follows another message of the assistant: join the two, or give one weight 0"
            )


def paired(row: Mapping[str, Any]) -> bool:
    """Whether a row has a preference pair; some files have one beside a conversation, for two kinds of methods."""
    return "chosen" in row and "rejected" in row


def prompt_of(value: Any, what: str, row: Mapping[str, Any] | None = None) -> Prompt:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | Mapping):
        raise ValueError(f"{what} is {shown(value)}: it must be text, or a list of messages with role and content")
    return conversation(value, what, row)


def demonstrated(row: Mapping[str, Any], prompt: Prompt, where: str) -> dict[str, Any]:
    """The fields of an Example for a prompt and its completion. A completion of several messages, or of one with more
    than its content (tool calls, reasoning), becomes a conversation in which no turn of the prompt is trained."""
    value, what = row.get("completion"), f"{where}: completion"
    if value is None or isinstance(value, str):
        return {"completion": value}
    if isinstance(value, bool | int | float | Mapping):
        raise ValueError(f"{what} is {shown(value)}: it must be text, or a list of messages with role and content")
    turns = conversation(value, what)
    if isinstance(prompt, str) or (len(turns) == 1 and not set(turns[0]) & set(SAYING)):
        return {"completion": said_of(value, what)}
    if turns[0]["role"] != "assistant":
        raise ValueError(f"{what} begins with a message of role {turns[0]['role']}: it must be the assistant's")
    shown_only = [{**m, "weight": 0} if m["role"] == "assistant" else m for m in prompt]
    return {"messages": with_arguments_of(prompt, (*shown_only, *turns))}


def said_of(value: Any, what: str) -> str:
    """The text of an answer, which is given as text or as a list of one assistant message."""
    if isinstance(value, str):
        return value
    turns = conversation([value] if isinstance(value, Mapping) and {"role", "from"} & value.keys() else value, what)
    if len(turns) != 1 or turns[0]["role"] != "assistant":
        roles = ", ".join(m["role"] for m in turns)
        raise ValueError(
            f"{what} has messages of roles {roles}: it must be one assistant message; put the "
            "others into 'prompt', or the whole conversation into 'messages'"
        )
    if more := [key for key in SAYING if key in turns[0]]:
        raise ValueError(
            f"{what} has {more[0]}, which this kind of data can't train: only text is learnt from here; put thoughts "
            "into the content as the model writes them, and conversations with calls into 'messages'"
        )
    return str(turns[0]["content"])


def preference(row: Mapping[str, Any], where: str) -> tuple[Prompt, str, str]:
    """Prompt, chosen and rejected. The prompt is the common beginning of the two answers where it isn't given."""
    if missing := [k for k in ("chosen", "rejected") if k not in row]:
        raise ValueError(f"{where}: no column {missing[0]!r}: a preference pair needs both chosen and rejected")
    chosen, rejected = row["chosen"], row["rejected"]
    if "prompt" in row and not repeated(row["prompt"], chosen, rejected, where=where):
        prompt = prompt_of(row["prompt"], f"{where}: prompt", row)
        return prompt, said_of(chosen, f"{where}: chosen"), said_of(rejected, f"{where}: rejected")
    if isinstance(chosen, str) and isinstance(rejected, str):
        cut = common_text(chosen, rejected)
        parts: tuple[Prompt, str, str] = chosen[:cut], chosen[cut:], rejected[cut:]
    else:
        a, b = conversation(chosen, f"{where}: chosen", row), conversation(rejected, f"{where}: rejected")
        shared = sum(1 for _ in takewhile(lambda ab: ab[0] == ab[1], zip(a, b, strict=False)))
        what = f"{where}: after their common beginning, "
        parts = (
            with_arguments_of(a, a[:shared]),
            said_of(a[shared:], what + "chosen"),
            said_of(b[shared:], what + "rejected"),
        )
    if not parts[0]:
        raise ValueError(f"{where}: chosen and rejected have no common beginning: add a column 'prompt'")
    return parts


def repeated(prompt: Any, *answers: Any, where: str = "") -> bool:
    """Whether both answers are whole conversations that contain the prompt, as in many preference files: then their
    common beginning is the prompt."""
    if any(isinstance(value, str) or not isinstance(value, Sequence) or len(value) < 2 for value in answers):
        return False
    a, b = (conversation(value, f"{where}: {name}") for value, name in zip(answers, PAIR, strict=True))
    shared = [m for m, _ in takewhile(lambda ab: ab[0] == ab[1], zip(a, b, strict=False))]
    if isinstance(prompt, str):
        return any(m["role"] == "user" and str(m["content"]).strip() == prompt.strip() for m in shared)
    asked = list(conversation(prompt, f"{where}: prompt"))
    return shared[: len(asked)] == asked


def common_text(a: str, b: str) -> int:
    """The length of the common prompt of two dialogues as text: up to the last speaker's mark that both share, else up
    to the start of the word in which they first differ.

    "\\n\\nAssistant:" is the mark of the HH-RLHF data; cutting there keeps a word that both answers begin with.
    """
    same = sum(1 for _ in takewhile(lambda ab: ab[0] == ab[1], zip(a, b, strict=False)))
    mark = a.rfind("\n\nAssistant:", 0, same)
    if mark >= 0:
        return mark + len("\n\nAssistant:")
    while same > 0 and not a[same - 1].isspace():
        same -= 1
    return same - 1 if same > 0 else 0
