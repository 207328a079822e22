"""Mixtures: several tasks as one, each with a share of the items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, islice
from math import ceil
from typing import Any

from scalpel.data.example import (
    SPLITS,
    Example,
    Split,
    Task,
)
from scalpel.registry import register
from scalpel.tasks.account import Account, total
from scalpel.tasks.split import digest
from scalpel.tasks.spool import Rows

MOST = 10_000  # times that a row may be repeated


class Mix:
    """A mixture of tasks. Every row of every data set occurs in training, and each source has its share of the items:
    rows of a source whose share is larger than its part of the data are repeated. Other splits repeat nothing. A
    completion is scored by the task of its prompt."""

    def __init__(self, tasks: Sequence[Task], shares: Sequence[float]) -> None:
        self.tasks = list(tasks)
        self.shares = [share / sum(shares) for share in shares]
        parts = [f"{task.name} ({share:.0%})" for task, share in zip(self.tasks, self.shares, strict=True)]
        self.name = f"mix of {', '.join(parts)}"
        held = {str(k): a for k, task in enumerate(self.tasks) if (a := getattr(inner(task), "account", None))}
        if not held:
            raise ValueError(f"the {self.name} has no data set in it, so nothing says how many items there are")
        self.account: Account = total(held)
        self.account.splits = {split: self.size(split) for split in SPLITS}

    def sizes(self, split: Split) -> list[int | None]:
        """The number of rows of each source; None for a task that generates its items."""
        found = [getattr(task, "size", None) for task in self.tasks]
        return [size(split) if size else None for size in found]

    def size(self, split: Split) -> int:
        """For training, the number of items after which every row has occurred at least once; for other splits, the
        number of rows."""
        sizes = self.sizes(split)
        if split != "train":
            return sum(n or 0 for n in sizes)
        needed = [ceil(n / share - 1e-9) for n, share in zip(sizes, self.shares, strict=True) if n]
        return max(needed, default=0)

    def quotas(self, n: int) -> list[int]:
        """n divided by the shares into integers (largest remainder method)."""
        parts = [n * share for share in self.shares]
        found = [int(part + 1e-9) for part in parts]
        behind = sorted(range(len(parts)), key=lambda k: found[k] - parts[k])
        for k in behind[: n - sum(found)]:
            found[k] += 1
        return found

    def examples(self, split: Split, n: int, seed: int = 0) -> list[Example]:
        """n items in the order that the seed gives. Each id begins with the number of its source, so that ids of
        different sources can't collide and `score` finds the task."""
        drawn: list[tuple[str, Example]] = []
        for k, (task, size, quota) in enumerate(zip(self.tasks, self.sizes(split), self.quotas(n), strict=True), 1):
            if split != "train":
                quota = min(n if size is None else size, n)
            given = task.examples(split, quota if size is None else size, seed)
            if isinstance(given, Rows):
                raise ValueError(
                    f"{task.name} is streamed, and a mixture holds its rows in memory: leave out streaming, or give "
                    "each source a signal of its own with a weight"
                )
            rows = [replace(e, id=f"{k}/{e.id}") for e in given]
            if rows and quota > MOST * len(rows):
                raise ValueError(
                    f"{task.name} has {len(rows)} rows, each of which would be taken more than {MOST:,} times: lower "
                    "its share, or set data.items"
                )
            taken = islice(cycle(rows), quota if split == "train" else min(quota, len(rows)))
            drawn += [(digest(f"{seed}:{i // max(len(rows), 1)}:{e.id}"), e) for i, e in enumerate(taken)]
        return [example for _, example in sorted(drawn, key=lambda pair: pair[0])][:n]

    def repeats(self) -> list[str]:
        """Log messages for sources whose rows are repeated until all others have occurred once."""
        n = self.size("train")
        return [
            f"{task.name} has {size:,} rows for training, and {quota:,} of {n:,} items are its own ({share:.0%}): each "
            f"row comes {quota / size:.3g} times"
            for task, size, quota, share in zip(
                self.tasks, self.sizes("train"), self.quotas(n), self.shares, strict=True
            )
            if size and quota > size
        ]

    def score(self, completion: str, example: Example) -> float:
        number, _, name = example.id.partition("/")
        return self.tasks[int(number) - 1].score(completion, replace(example, id=name))

    def __repr__(self) -> str:
        return f"Mix({self.name!r})"


def inner(task: Any) -> Any:
    """The task itself, without its instruction."""
    return getattr(task, "task", task)


@register("task", "mix")
def mix(make: Callable[[Mapping[str, Any]], Task], *, sources: Any = None) -> Mix:
    """A mixture from a recipe's table: `sources` is a list of tasks' tables, each with a `share` (default 1)."""
    if not isinstance(sources, list) or not sources or not all(isinstance(s, Mapping) for s in sources):
        raise ValueError(
            "task 'mix' needs sources, a list of tasks with shares, as in "
            'sources = [{name = "jsonl", path = "a.jsonl", share = 0.7}, '
            '{name = "jsonl", path = "b.jsonl", share = 0.3}]'
        )
    shares = [source.get("share", 1.0) for source in sources]
    for share in shares:
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1e9:
            raise ValueError(f"task 'mix': a share is {share!r}: it must be a number above 0")
    tables = [{key: value for key, value in source.items() if key != "share"} for source in sources]
    return Mix([make(table) for table in tables], shares)
