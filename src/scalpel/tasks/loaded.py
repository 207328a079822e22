"""The examples of a source, read once for all who ask them: training, probes, keep sets."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from scalpel.data.example import Example, Message
from scalpel.rewards.patterns import found
from scalpel.tasks.account import Account
from scalpel.tasks.columns import example
from scalpel.tasks.read import Located, files_of, hub, rows_of
from scalpel.tasks.split import digest

Faulty = Literal["refuse", "drop"]
KEPT = 8  # sources that stay in memory
_known: OrderedDict[str, tuple[list[Example], Account]] = OrderedDict()


def loaded(
    form: str,
    path: str | Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    answer_pattern: str | None = None,
    faulty: Faulty = "refuse",
    **options: Any,
) -> tuple[list[Example], Account]:
    """The examples of a source and the account of its rows. A file that hasn't changed is read once in a process."""
    key = repr((form, identity(form, path), sorted((columns or {}).items()), answer_pattern, faulty, options))
    if key not in _known:
        rows = hub(str(path), **options) if form == "hub" else rows_of(form, path)
        _known[key] = read(rows, shown(path), columns, answer_pattern, faulty)
        while len(_known) > KEPT:
            _known.popitem(last=False)
    _known.move_to_end(key)
    return _known[key]


def identity(form: str, path: str | Sequence[str]) -> list[tuple]:
    """What tells one state of the files from another; of what is fetched from the hub, its name alone."""
    named = [path] if form == "hub" and isinstance(path, str) else files_of(path)
    found: list[tuple] = []
    for name in named:
        place = Path(name).expanduser()
        for file in [place, *sorted(place.rglob("*"))] if place.is_dir() else [place]:
            state = file.stat() if file.exists() else None
            found.append((str(file.resolve()), state and (state.st_size, state.st_mtime_ns, state.st_ino)))
    return found


def shown(path: str | Sequence[str]) -> str:
    """A source in few words."""
    return path if isinstance(path, str) else ", ".join(path)


def read(
    rows: Iterable[Located],
    source: str,
    columns: Mapping[str, str] | None = None,
    answer_pattern: str | None = None,
    faulty: Faulty = "refuse",
) -> tuple[list[Example], Account]:
    """The examples of a source, each with an id of its own that depends on its content only. A row that can be no
    example is refused, or left out and counted where the user says so."""
    seen: Counter[str] = Counter()
    first: dict[str, str] = {}  # where an id of the user's own was first
    examples, account = [], Account()
    for where, row in rows:
        account.given += 1
        try:
            one = answered(example(row, where, columns), answer_pattern, where)
            if one.id and one.id in first:
                raise ValueError(
                    f"{where}: the id {one.id!r} was there before, in {first[one.id]}: ids must be unique (they are "
                    "compared as text), or leave them out"
                )
        except ValueError as error:
            if faulty == "refuse":
                raise
            account.leave_out(reason(str(error), where), where)
            continue
        if one.id:
            first[one.id] = where
        name = one.id or digest(content(one))
        seen[name] += 1
        examples.append(replace(one, id=name if seen[name] == 1 else f"{name}-{seen[name]}", where=where))
    if not examples:
        dropped = f": all {account.given} were left out ({account.words()})" if account.given else ""
        raise ValueError(f"{source} has no rows{dropped}: a task needs at least one")
    return examples, account


def reason(message: str, where: str) -> str:
    """A refusal without what is particular to its row, so that rows of one kind are counted together."""
    words = message.removeprefix(where).lstrip(": ")
    return words.partition(" is ")[0].partition(": ")[0].partition(" was there")[0][:80]


def answered(one: Example, pattern: str | None, where: str) -> Example:
    """The example with its answer cut out of a longer text."""
    if pattern is None or one.answer is None:
        return one
    short = found(pattern, one.answer)
    if short is None:
        raise ValueError(f"{where}: answer_pattern {pattern!r} is not in the answer {one.answer[-60:]!r}")
    return replace(one, answer=short)


def question(row: Example) -> str:
    """What a row asks, as text: the prompt, the conversation up to the first answer, or the text itself."""
    if row.messages is not None:
        first = next((i for i, m in enumerate(row.messages) if m["role"] == "assistant"), len(row.messages))
        return spelt(row.messages[:first])
    if not row.prompt:
        return row.completion or ""
    return row.prompt if isinstance(row.prompt, str) else spelt(row.prompt)


def content(row: Example) -> str:
    """All that a row says, as text."""
    prompt = row.prompt if isinstance(row.prompt, str) else spelt(row.prompt)
    said = [row.completion, row.answer, row.chosen, row.rejected, row.label]
    return json.dumps([prompt, spelt(row.messages or ()), *said], ensure_ascii=False)


def spelt(messages: Sequence[Message]) -> str:
    """Messages as text, with whatever they hold beside role and content."""
    lines = []
    for m in messages:
        more = {k: v for k, v in m.items() if k not in ("role", "content")}
        lines.append(f"{m['role']}: {m.get('content')}")
        lines += [json.dumps(more, sort_keys=True, ensure_ascii=False, default=repr)] if more else []
    return "\n".join(lines)
