"""Whether two texts state the same mathematical value, within a time limit that always holds.

Math-Verify guards itself by an alarm signal, which works in the main thread only. Elsewhere the comparison is made
by a process of its own, which runs this very file, reads and answers one line of JSON a comparison, and is ended
when it takes too long. So this file imports nothing of scalpel.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import subprocess
import sys
import threading
from functools import lru_cache
from typing import Any

START_SECONDS = 120.0  # how long the process may take until it has imported what it needs
ANSWER_SECONDS = 60  # for what the data says is right: not to read it in time would end the run


def equal(completion: str, answer: str, *, seconds: int = 5) -> bool:
    """True where they are equal; False where they aren't, where nothing can be read, and after so many seconds."""
    if seconds < 1:
        raise ValueError(f"seconds is {seconds}: a comparison needs a limit of 1 second or more")
    if threading.current_thread() is threading.main_thread() and os.name == "posix":
        return compare(completion, answer, seconds)
    return WORKER.compare(completion, answer, seconds)


def compare(completion: str, answer: str, seconds: int | None) -> bool:
    """In this thread. With a limit it must be the main one. ValueError if the answer itself is no mathematics."""
    from math_verify import parse, verify

    right = read(answer, None if seconds is None else max(seconds, ANSWER_SECONDS))
    if not right:
        raise ValueError(
            f"math-verify can't read the answer {answer!r}: it must be a number or an expression (for other "
            "text use the verifier 'exact'; if the value stands in a longer text, set answer_pattern)"
        )
    said = parse(completion, parsing_timeout=seconds)  # type: ignore[arg-type]  # None is allowed there
    return bool(said) and bool(verify(list(right), said, timeout_seconds=seconds))


@lru_cache(maxsize=4096)
def read(answer: str, seconds: int | None) -> tuple[Any, ...]:
    """What an answer may mean. A bare expression is LaTeX that lacks its dollar signs; without them only the "1" of
    "1+x" would be read. Where there are words, the expression is looked for among them."""
    from math_verify import parse

    words = re.search(r"[A-Za-z]{2,}", re.sub(r"\\[A-Za-z]+", " ", answer))
    marked = any(mark in answer for mark in ("$", "\\boxed", "\\(", "\\["))
    text = answer if words or marked else f"${answer}$"
    return tuple(parse(text, parsing_timeout=seconds))  # type: ignore[arg-type]


class Worker:
    """The process that compares for other threads; started when first needed, and again after it was ended."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[str] | None = None
        atexit.register(self.end)

    def compare(self, completion: str, answer: str, seconds: float) -> bool:
        with self.lock:
            if self.process is None:
                self.process = subprocess.Popen(
                    [sys.executable, __file__],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                )  # fmt: skip
                self.ask(["1", "1"], START_SECONDS)
            said = self.ask([completion, answer], seconds)
        if isinstance(said, str):
            raise ValueError(said)
        return bool(said)

    def ask(self, pair: list[str], seconds: float) -> bool | str | None:
        """The process's reply: a verdict, or the words of its ValueError; None when its time is over or it died."""
        process = self.process
        if process is None:
            return None
        assert process.stdin is not None and process.stdout is not None
        limit = threading.Timer(seconds, process.kill)
        limit.start()
        try:
            process.stdin.write(json.dumps(pair) + "\n")
            process.stdin.flush()
            reply = process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        finally:
            limit.cancel()
        if not reply:
            self.end()
            return None
        said: bool | str = json.loads(reply)
        return said

    def end(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.communicate()


WORKER = Worker()


def serve() -> None:
    """Answers lines from standard input until it closes."""
    logging.disable()
    for line in sys.stdin:
        completion, answer = json.loads(line)
        try:
            said: bool | str = compare(completion, answer, None)
        except ValueError as error:
            said = str(error)
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    serve()
