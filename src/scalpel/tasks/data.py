"""DataTask: a data set as a task, with disjoint splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from scalpel.data.example import SPLITS, Example, Split
from scalpel.registry import register
from scalpel.rewards.user import Verifier
from scalpel.tasks.account import Account, total
from scalpel.tasks.loaded import Examples, Faulty, loaded, question, shown
from scalpel.tasks.read import FORMS
from scalpel.tasks.split import SHARES, checked_shares, digest, split_at, split_of
from scalpel.tasks.spool import Rows


class DataTask:
    """Rows of a data set with a verifier.

    One source is divided by a hash of each row's question, so that rows with equal questions are in the same split.
    Several sources, one for each split, keep their rows, but a row of a later split whose question an earlier split has
    too raises, unless `overlap = "drop"`. `account` counts the rows that were read and left out.
    """

    def __init__(
        self,
        name: str,
        splits: Mapping[Split, Sequence[Example]],
        verifier: Verifier | None,
        account: Account | None = None,
    ) -> None:
        self.name = name
        self.splits = splits
        self.verifier = verifier
        self.account = account or Account()
        self.account.splits = {split: len(splits.get(split, ())) for split in SPLITS}

    def size(self, split: Split) -> int:
        """The number of rows of the split."""
        return len(self.splits.get(split, ()))

    def examples(self, split: Split, n: int, seed: int = 0) -> Sequence[Example]:
        """The first n rows of the split in the order that the seed gives. The order is by a hash of the row's id, so it
        depends on neither the order nor the name of the file, and adding or removing a row keeps the order of the
        others."""
        rows = self.splits.get(split, ())
        if isinstance(rows, Rows):
            keys = [int(digest(f"{seed}:{name}"), 16) for name in rows.ids()]
            return rows.taken(np.argsort(np.array(keys, dtype=np.uint64), kind="stable")[:n])
        return sorted(rows, key=lambda row: digest(f"{seed}:{row.id}"))[:n]

    def score(self, completion: str, example: Example) -> float:
        """The verifier's score."""
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
    path: str | list[str] | None = None,
    files: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    shares: Mapping[str, float] | None = None,
    overlap: str = "refuse",
    faulty: Faulty = "refuse",
    answer_pattern: str | None = None,
    streaming: bool = False,
    verify: Verifier | None = None,
    subset: str | None = None,
) -> DataTask:
    """A task from `path`, divided by `shares`, or from `files`, one for each split; each is a path, a glob pattern or a
    list.

    For hub data sets `files` names their splits ({train = "train", test = "test"}), `path` the data set and `subset`
    its configuration. With `streaming` rows stay on disk, for data that doesn't fit in memory.
    """
    if subset is not None and form != "hub":
        raise ValueError(f"subset is {subset!r}, but only data sets of the hub have one: leave it out for {form!r}")
    if overlap not in ("refuse", "drop"):
        raise ValueError(f"overlap is {overlap!r}: it must be 'refuse' or 'drop'")
    if faulty not in get_args(Faulty):
        raise ValueError(f"faulty is {faulty!r}: it must be 'refuse' or 'drop', which leaves such rows out")
    if files is not None and shares is not None:
        raise ValueError("files and shares exclude each other: either one file a split, or one file divided by shares")
    common: dict[str, Any] = {"columns": columns, "answer_pattern": answer_pattern, "faulty": faulty}
    common |= {"streaming": streaming, **({"subset": subset} if form == "hub" else {})}
    if files is None:
        if path is None:
            raise ValueError(f"a {form} task needs a path, or files = {{train = …, test = …}}")
        checked = checked_shares(dict(shares or SHARES))
        rows, account = loaded(form, path, **common)
        return DataTask(f"{form}:{shown(path)}", divided(rows, checked), verify, total({"": account}))
    if strange := sorted(set(files) - set(SPLITS)):
        raise ValueError(f"files names {', '.join(strange)}: the splits are {', '.join(SPLITS)}")
    read: dict[Split, Examples] = {}
    accounts: dict[str, Account] = {}
    for split in SPLITS:
        if split in files:
            if form == "hub":
                read[split], accounts[split] = loaded(form, path or "", **common, split=files[split])
            else:
                read[split], accounts[split] = loaded(form, files[split], **common)
    account = total(accounts)
    name = f"{form}:{path or shown(files.get('train') or next(iter(files.values()), ''))}"
    return DataTask(name, apart(read, overlap, account), verify, account)


for _form in FORMS:
    register("task", _form)(data_task)


def divided(rows: Examples, shares: dict[Split, float]) -> dict[Split, Examples]:
    """The rows of each split, by a hash of their question."""
    splits: dict[Split, list[Example]] = {split: [] for split in SPLITS}
    if whole := next((split for split, share in shares.items() if share == sum(shares.values())), None):
        return {**splits, whole: rows}
    if isinstance(rows, Rows):
        at = np.array([SPLITS.index(split_at(int(asked), shares)) for asked in rows.questions()])
        return {split: rows.taken(at == k) for k, split in enumerate(SPLITS)}
    for row in rows:
        splits[split_of(question(row), shares)].append(row)
    return {**splits}


def apart(read: Mapping[Split, Examples], overlap: str, account: Account) -> dict[Split, Examples]:
    """The user's own splits, without rows whose question an earlier split has too."""
    home: dict[int, tuple[Split, int]] = {}  # digest of a question → the split and the position where it was first
    kept: dict[Split, Examples] = {}
    for split, rows in read.items():
        first = [home.setdefault(asked, (split, i)) for i, asked in enumerate(questions(rows))]
        met = [
            i
            for i, (earlier, at) in enumerate(first)
            if earlier != split and question(rows[i]) == question(read[earlier][at])  # equal digests may be a collision
        ]
        if met and overlap == "refuse":
            row, (earlier, at) = rows[met[0]], first[met[0]]
            raise ValueError(
                f"{len(met)} rows of split {split!r} are also in {earlier!r}, first {row.where}, which asks what "
                f'{read[earlier][at].where} asks ({question(row)[:60]!r}): remove them, or say overlap = "drop"'
            )
        if met:
            account.leave_out(f"in an earlier split than {split!r} too", rows[met[0]].where, len(met))
        own = sorted(set(range(len(rows))) - set(met))
        kept[split] = rows.taken(own) if isinstance(rows, Rows) else [rows[i] for i in own]
    return kept


def questions(rows: Sequence[Example]) -> Iterator[int]:
    """Digests of the questions of the rows."""
    if isinstance(rows, Rows):
        return iter(rows.questions().tolist())
    return (int(digest(question(row)), 16) for row in rows)
