"""Whether two texts state the same mathematical value, within a time limit that always holds.

Math-Verify guards itself by an alarm signal, which only works in the main thread. Elsewhere the comparison runs
in a process of its own, which is ended when its time is over.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from multiprocessing import get_context
from typing import Any


def equal(completion: str, answer: str, *, seconds: int = 5) -> bool:
    """True where they are equal; False where they aren't, where nothing can be read, and after so many seconds."""
    if seconds < 1:
        raise ValueError(f"seconds is {seconds}: a comparison needs a limit of 1 second or more")
    if threading.current_thread() is threading.main_thread() and os.name == "posix":
        return compare(completion, answer, seconds)
    return apart(completion, answer, seconds)


def compare(completion: str, answer: str, seconds: int) -> bool:
    """In this thread, which must be the main one. ValueError if the answer itself is no mathematics."""
    from math_verify import parse, verify

    right = read(answer, seconds)
    if not right:
        raise ValueError(
            f"math-verify can't read the answer {answer!r}: it must be a number or an expression (for other "
            "text use the verifier 'exact'; if the value stands in a longer text, set answer_pattern)"
        )
    said = parse(completion, parsing_timeout=seconds)
    return bool(said) and bool(verify(list(right), said, timeout_seconds=seconds))


@lru_cache(maxsize=4096)
def read(answer: str, seconds: int) -> tuple[Any, ...]:
    """The answer's readings: as it stands, else as LaTeX that lacks its dollar signs."""
    from math_verify import parse

    return tuple(parse(answer, parsing_timeout=seconds) or parse(f"${answer}$", parsing_timeout=seconds))


def apart(completion: str, answer: str, seconds: int, start: float = 60.0) -> bool:
    """In a process of its own; `start` are the seconds that it may take to begin."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=reply, args=(theirs, completion, answer, seconds), daemon=True)
    process.start()
    theirs.close()
    try:
        # parsing two texts and comparing them has its limit inside; the margin is for what no signal can stop
        said = ours.recv() if ours.poll(start + 3 * seconds) else False
    except EOFError:
        said = False  # it died: out of memory, mostly, on a power tower
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(said, ValueError):
        raise said
    return said


def reply(pipe: Any, completion: str, answer: str, seconds: int) -> None:
    try:
        pipe.send(compare(completion, answer, seconds))
    except ValueError as error:
        pipe.send(error)
