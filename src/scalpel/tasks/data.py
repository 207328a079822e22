"""DataTask: a data set as a task, with splits that never meet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from scalpel.example import SPLITS, Example, Message, Split
from scalpel.rewards.user import Verifier
from scalpel.rewards.verifiers import found
from scalpel.tasks.columns import example
from scalpel.tasks.read import READERS, Located
from scalpel.tasks.split import SHARES, checked_shares, digest, split_of


class DataTask:
    """Rows of a data set with a verifier.

    One source is divided by a hash of what each row asks: rows that ask the same are in the same split. Several
    sources, one a split, are taken as they are, except that a row of a later split which an earlier one also holds
    is refused unless `overlap = "drop"`.
    """

    def __init__(self, name: str, splits: Mapping[Split, list[Example]], verifier: Verifier | None) -> None:
        self.name = name
        self.splits = splits
        self.verifier = verifier

    def examples(self, split: Split, n: int, seed: int = 0) -> list[Example]:
        """The first n rows of the split in the order that the seed gives: neither the file's order nor its name
        matters, and a row that is added or removed leaves the order of the others alone."""
        return sorted(self.splits.get(split, ()), key=lambda row: digest(f"{seed}:{row.id}"))[:n]

    def score(self, completion: str, example: Example) -> float:
        """What the verifier says."""
        if self.verifier is None:
            raise ValueError(
                f'{self.name} has no verifier, so its completions can\'t be scored: add verify = "exact" (or contains, '
                "pattern, math, path.py:name) to the task, and a column 'answer' to the data"
            )
        return self.verifier(completion, example)

    def __repr__(self) -> str:
        return f"DataTask({self.name!r})"


def data_task(
    form: str,
    *,
    path: str | None = None,
    files: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    shares: Mapping[str, float] | None = None,
    overlap: str = "refuse",
    answer_pattern: str | None = None,
    verifier: Verifier | None = None,
    **options: Any,
) -> DataTask:
    """A task from `path`, divided by `shares`, or from `files`, one a split.

    For hub data sets `files` names their splits ({train = "train", test = "test"}) and `path` the data set.
    """
    if overlap not in ("refuse", "drop"):
        raise ValueError(f"overlap is {overlap!r}: it must be 'refuse' or 'drop'")
    if files is not None and shares is not None:
        raise ValueError("files and shares exclude each other: either one file a split, or one file divided by shares")
    if files is None:
        if path is None:
            raise ValueError(f"a {form} task needs a path, or files = {{train = …, test = …}}")
        rows = loaded(READERS[form](path, **options), path, columns, answer_pattern)
        return DataTask(f"{form}:{path}", divided(rows, checked_shares(dict(shares or SHARES))), verifier)
    if strange := sorted(set(files) - set(SPLITS)):
        raise ValueError(f"files names {', '.join(strange)}: the splits are {', '.join(SPLITS)}")
    read: dict[Split, list[Example]] = {}
    for split in SPLITS:
        if split in files:
            source = (path, files[split]) if form == "hub" else (files[split],)
            arguments = dict(zip(("path", "split"), source, strict=False))
            read[split] = loaded(READERS[form](**arguments, **options), files[split], columns, answer_pattern)
    name = f"{form}:{path or files.get('train') or next(iter(files.values()))}"
    return DataTask(name, apart(read, overlap), verifier)


def loaded(
    rows: Iterable[Located], source: str, columns: Mapping[str, str] | None, answer_pattern: str | None
) -> list[Example]:
    """The examples of a source, each with an id of its own that depends on its content only."""
    seen: Counter[str] = Counter()
    examples = []
    for where, row in rows:
        one = example(row, where, columns)
        if answer_pattern is not None and one.answer is not None:
            short = found(answer_pattern, one.answer)
            if short is None:
                raise ValueError(
                    f"{where}: answer_pattern {answer_pattern!r} is not in the answer {one.answer[-60:]!r}"
                )
            one = replace(one, answer=short)
        name = one.id or digest(content(one))
        seen[name] += 1
        if one.id and seen[name] > 1:
            raise ValueError(f"{where}: the id {one.id!r} was there before: ids must be unique, or leave them out")
        examples.append(replace(one, id=name if seen[name] == 1 else f"{name}-{seen[name]}", where=where))
    if not examples:
        raise ValueError(f"{source} has no rows: a task needs at least one")
    return examples


def divided(rows: list[Example], shares: dict[Split, float]) -> dict[Split, list[Example]]:
    """The rows of each split, by a hash of what they ask."""
    splits: dict[Split, list[Example]] = {split: [] for split in SPLITS}
    for row in rows:
        splits[split_of(question(row), shares)].append(row)
    return splits


def apart(read: dict[Split, list[Example]], overlap: str) -> dict[Split, list[Example]]:
    """The user's own splits, where no row asks what a row of an earlier split asked."""
    home: dict[str, Split] = {}
    kept: dict[Split, list[Example]] = {}
    for split, rows in read.items():
        met = [row for row in rows if home.get(question(row), split) != split]
        if met and overlap == "refuse":
            raise ValueError(
                f"{len(met)} rows of split {split!r} are also in {home[question(met[0])]!r}, first {met[0].id} "
                f'({question(met[0])[:60]!r}): remove them, or say overlap = "drop"'
            )
        kept[split] = [row for row in rows if home.setdefault(question(row), split) == split]
    return kept


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


def spelt(messages: Iterable[Message]) -> str:
    return "\n".join(f"{m['role']}: {m['content']}" for m in messages)
