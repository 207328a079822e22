"""The examples of a data source, read once for all users in a process: training, probes, keep sets."""

from __future__ import annotations

import json
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from scalpel.binding.patterns import found
from scalpel.data.example import Example, Message
from scalpel.tasks.account import Account
from scalpel.tasks.columns import example
from scalpel.tasks.read import Located, files_of, hub, rows_of
from scalpel.tasks.split import digest
from scalpel.tasks.spool import Rows, Spool

log = logging.getLogger("scalpel")
Faulty = Literal["refuse", "drop"]
KEPT = 8  # sources that stay in memory
Examples = list[Example] | Rows
_known: OrderedDict[str, tuple[Examples, Account]] = OrderedDict()


def loaded(
    form: str,
    path: str | Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    answer_pattern: str | None = None,
    faulty: Faulty = "refuse",
    streaming: bool = False,
    **options: Any,
) -> tuple[Examples, Account]:
    """The examples of a source and the account of its rows. Files that haven't changed are read once in a process. With
    `streaming` the rows stay on disk."""
    how = (sorted((columns or {}).items()), answer_pattern, faulty, streaming, options)
    key = repr((form, identity(form, path), how))
    if key not in _known:
        rows = hub(str(path), **options) if form == "hub" else rows_of(form, path)
        take = spooled if streaming else read
        _known[key] = take(rows, shown(path), columns, answer_pattern, faulty)
        while len(_known) > KEPT:
            _known.popitem(last=False)
    _known.move_to_end(key)
    return _known[key]


def identity(form: str, path: str | Sequence[str]) -> list[tuple]:
    """A key for the state of the files (path, size, modification time, inode); for the hub, the name alone."""
    named = [path] if form == "hub" and isinstance(path, str) else files_of(path)
    found: list[tuple] = []
    for name in named:
        place = Path(name).expanduser()
        for file in [place, *sorted(place.rglob("*"))] if place.is_dir() else [place]:
            state = file.stat() if file.exists() else None
            found.append((str(file.resolve()), state and (state.st_size, state.st_mtime_ns, state.st_ino)))
    return found


def shown(path: str | Sequence[str]) -> str:
    """The name of a source for messages."""
    return path if isinstance(path, str) else ", ".join(path)


def read(
    rows: Iterable[Located],
    source: str,
    columns: Mapping[str, str] | None = None,
    answer_pattern: str | None = None,
    faulty: Faulty = "refuse",
) -> tuple[list[Example], Account]:
    """The examples of a source, each with an id that depends on its content only. An invalid row raises, or is left out
    and counted with faulty = "drop"."""
    seen: Counter[str] = Counter()
    first: dict[str, str] = {}  # where an id of the user's own was first
    examples, account = [], Account()

    def refuse_twice(one: Example) -> None:
        if one.id and one.id in first:
            raise ValueError(
                f"{one.where}: the id {one.id!r} was there before, in {first[one.id]}: ids must be unique (they are "
                "compared as text), or leave them out"
            )

    for one in good(rows, account, columns, answer_pattern, faulty, refuse_twice):
        if one.id:
            first[one.id] = one.where
        name = one.id or digest(content(one))
        seen[name] += 1
        examples.append(replace(one, id=name if seen[name] == 1 else f"{name}-{seen[name]}"))
    refuse_nothing(len(examples), source, account)
    return examples, account


def spooled(
    rows: Iterable[Located],
    source: str,
    columns: Mapping[str, str] | None = None,
    answer_pattern: str | None = None,
    faulty: Faulty = "refuse",
) -> tuple[Rows, Account]:
    """The same, with the rows on disk. A duplicate id raises even with faulty = "drop"."""
    spool, account = Spool(), Account()
    for one in good(rows, account, columns, answer_pattern, faulty, lambda one: None):
        spool.add(one, digest(question(one)), digest(content(one)))
    refuse_nothing(len(spool), source, account)
    spool.close()
    words = "%s is streamed: %s rows are read from a file of %.3g MB in %s, which is deleted when this process ends"
    log.info(words, source, f"{len(spool):,}", spool.size / 1e6, spool.folder)
    return Rows(spool), account


def good(
    rows: Iterable[Located],
    account: Account,
    columns: Mapping[str, str] | None,
    answer_pattern: str | None,
    faulty: Faulty,
    check: Callable[[Example], None],
) -> Iterator[Example]:
    """The examples of all valid rows, with their places; an invalid row raises, or is counted."""
    for where, row in rows:
        account.given += 1
        try:
            one = replace(answered(example(row, where, columns), answer_pattern, where), where=where)
            check(one)
        except ValueError as error:
            if faulty == "refuse":
                raise
            account.leave_out(reason(str(error), where), where)
            continue
        yield one


def refuse_nothing(count: int, source: str, account: Account) -> None:
    if not count:
        dropped = f": all {account.given} were left out ({account.words()})" if account.given else ""
        raise ValueError(f"{source} has no rows{dropped}: a task needs at least one")


def reason(message: str, where: str) -> str:
    """An error message without the parts that are specific to its row, so that equal errors are counted together."""
    words = message.removeprefix(where).lstrip(": ")
    return words.partition(" is ")[0].partition(": ")[0].partition(" was there")[0][:80]


def answered(one: Example, pattern: str | None, where: str) -> Example:
    """The example with its answer extracted from a longer text by the pattern."""
    if pattern is None or one.answer is None:
        return one
    short = found(pattern, one.answer)
    if short is None:
        raise ValueError(f"{where}: answer_pattern {pattern!r} is not in the answer {one.answer[-60:]!r}")
    return replace(one, answer=short)


def question(row: Example) -> str:
    """The question of a row as text: the prompt, the conversation up to the first answer, or the text itself."""
    if row.messages is not None:
        first = next((i for i, m in enumerate(row.messages) if m["role"] == "assistant"), len(row.messages))
        return spelt(row.messages[:first])
    if not row.prompt:
        return row.completion or ""
    return row.prompt if isinstance(row.prompt, str) else spelt(row.prompt)


def content(row: Example) -> str:
    """The whole content of a row as text, from which its id is derived."""
    prompt = row.prompt if isinstance(row.prompt, str) else spelt(row.prompt)
    said = [row.completion, row.answer, row.chosen, row.rejected, row.label]
    return json.dumps([prompt, spelt(row.messages or ()), *said], ensure_ascii=False)


def spelt(messages: Sequence[Message]) -> str:
    """Messages as text, including their keys other than role and content."""
    lines = []
    for m in messages:
        more = {k: v for k, v in m.items() if k not in ("role", "content")}
        lines.append(f"{m['role']}: {m.get('content')}")
        lines += [json.dumps(more, sort_keys=True, ensure_ascii=False, default=repr)] if more else []
    return "\n".join(lines)
