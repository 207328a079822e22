"""Reward functions that may take long: the log names the one that is running, and a time limit can be set."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from scalpel.data.example import Example, named

log = logging.getLogger("scalpel")
SAID_AT = (10, 60)  # seconds after the call; later ones come every five minutes
EVERY = 300
Judging = Callable[[Sequence[Example], Sequence[str], Mapping[str, Any]], Sequence[Any]]


@dataclass(frozen=True)
class Asked:
    """A judging function with its name and a time limit in seconds for each call."""

    name: str
    function: Judging
    timeout: float | None = None
    what: str = "reward"

    def __call__(
        self, examples: Sequence[Example], completions: Sequence[str], handed: Mapping[str, Any]
    ) -> Sequence[Any]:
        with told(f"{self.what} {self.name!r}"):
            if self.timeout is None:
                return self.function(examples, completions, handed)
            return self.within(self.timeout, examples, completions, handed)

    def within(self, seconds: float, *asked: Any) -> Sequence[Any]:
        """The function's result, computed in a thread. On a timeout the thread is left running, since Python can't stop
        one; it is a daemon thread, so it doesn't keep the process alive."""
        came: list[Any] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                came.append(self.function(*asked))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run, daemon=True, name=f"scalpel-{self.name}")
        thread.start()
        thread.join(seconds)
        if failed:
            raise failed[0]
        if not came:
            raise ValueError(
                f"{self.what} {self.name!r} exceeded its timeout of {seconds:g} s on {len(asked[0])} completions, the "
                f"first for {named(asked[0][0])}: raise `timeout`, or let the function return None for what takes too "
                "long"
            )
        return came[0]  # type: ignore[no-any-return]


@contextmanager
def told(what: str) -> Iterator[None]:
    """Context manager: while it is active, the log reports at intervals what is being waited for."""
    over = threading.Event()

    def say() -> None:
        waited = 0
        for at in chain(SAID_AT, count(EVERY, EVERY)):
            if over.wait(at - waited):
                return
            waited = at
            log.info("waiting for %s for %d s", what, waited)

    watcher = threading.Thread(target=say, daemon=True, name="scalpel-waiting")
    watcher.start()
    try:
        yield
    finally:
        over.set()
