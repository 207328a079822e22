"""Rows that don't fit in memory: kept on disk, and read one by one when they are indexed.

While a source is read, each row is checked, converted to an `Example` as usual, and written to an unnamed temporary
file, which is deleted when the process ends. Memory holds a few numbers for each row: its offset, and hashes of its
question and of its id. So every format may be streamed, rows are shuffled completely, not within a buffer, and a
resumed run is bit-identical.
"""

from __future__ import annotations

import os
import pickle
from array import array
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, overload
from weakref import finalize

import numpy as np

from scalpel.data.example import Example

FOLDER = "~/.cache/scalpel"
OWN = 1 << 63  # marks the hash of an id that comes from the data
BITS = 48  # of `split.digest`


class Spool:
    """Examples in the order in which they were read."""

    def __init__(self) -> None:
        folder = Path(os.environ.get("TMPDIR") or FOLDER).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.file = folder, TemporaryFile(prefix="scalpel-rows-", dir=folder, buffering=2**20)  # noqa: SIM115
        finalize(self, self.file.close)
        self.starts = array("Q", [0])
        self.questions = array("Q")  # digests of the questions
        self.names = array("Q")  # digests of the contents, or of ids that come from the data
        self.copies: dict[int, int] = {}  # position of a row with the content of earlier ones → its number among them

    def add(self, row: Example, question: str, content: str) -> None:
        """Appends a row; `question` and `content` are digests of twelve hexadecimal digits each."""
        raw = pickle.dumps(row, protocol=pickle.HIGHEST_PROTOCOL)
        self.file.write(raw)
        self.starts.append(self.starts[-1] + len(raw))
        self.questions.append(int(question, 16))
        self.names.append(OWN | hashed(row.id) if row.id else int(content, 16))

    def close(self) -> None:
        """Finishes writing: rows with equal contents get a number in their id. ValueError for a duplicate id in the
        data."""
        self.file.flush()
        names = np.frombuffer(self.names, dtype=np.uint64)
        order = np.argsort(names, kind="stable")
        same = np.flatnonzero(names[order][1:] == names[order][:-1]) + 1
        for k in same.tolist():
            place, before = int(order[k]), int(order[k - 1])
            if self.names[place] & OWN:
                again, first = self.read(place), self.read(before)
                if again.id == first.id:
                    raise ValueError(
                        f"{again.where}: the id {again.id!r} was there before, in {first.where}: ids must be unique "
                        "(they are compared as text), or leave them out"
                    )
            else:
                self.copies[place] = self.copies.get(before, 1) + 1

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.starts[-1]

    def read(self, place: int) -> Example:
        start, stop = self.starts[place], self.starts[place + 1]
        found: Example = pickle.loads(os.pread(self.file.fileno(), stop - start, start))
        return found

    def id_of(self, place: int) -> str:
        """The row's id, the same as for rows in memory; read from the row itself if the data has one."""
        name = self.names[place]
        if name & OWN:
            return self.read(place).id
        copy = self.copies.get(place)
        return f"{name:0{BITS // 4}x}" + (f"-{copy}" if copy else "")

    def example(self, place: int) -> Example:
        found = self.read(place)
        return found if found.id else with_id(found, self.id_of(place))


def with_id(row: Example, name: str) -> Example:
    """The row with that id. It is frozen, but was just unpickled, so no other reference to it exists."""
    object.__setattr__(row, "id", name)
    return row


def hashed(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


class Rows(Sequence[Example]):
    """A selection of a spool's rows in some order, each read when it is indexed, and then passed through `put`."""

    def __init__(
        self, spool: Spool, places: np.ndarray | None = None, put: Callable[[Example], Example] | None = None
    ) -> None:
        self.spool, self.put = spool, put
        self.places = np.arange(len(spool), dtype=np.uint64) if places is None else places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, at: int) -> Example: ...
    @overload
    def __getitem__(self, at: slice) -> Rows: ...
    def __getitem__(self, at: int | slice) -> Example | Rows:
        if isinstance(at, slice):
            return Rows(self.spool, self.places[at], self.put)
        found = self.spool.example(int(self.places[at]))
        return self.put(found) if self.put else found

    def taken(self, kept: Any) -> Rows:
        """The rows at these positions, in that order, or those that a mask selects."""
        return Rows(self.spool, self.places[kept], self.put)

    def mapped(self, put: Callable[[Example], Example]) -> Rows:
        before = self.put
        return Rows(self.spool, self.places, put if before is None else lambda row: put(before(row)))

    def ids(self) -> list[str]:
        return [self.spool.id_of(int(place)) for place in self.places]

    def questions(self) -> np.ndarray:
        """Digests of the rows' questions."""
        every: np.ndarray = np.frombuffer(self.spool.questions, dtype=np.uint64)
        return every[self.places]
