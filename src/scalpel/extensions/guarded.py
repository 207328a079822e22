"""Calls of users' code that keep the run alive: the code may raise anything, call `sys.exit` or `os._exit`, be
asynchronous, or yield its values one by one. Every failure becomes a `Failed` with the line of the user's file."""

from __future__ import annotations

import asyncio
import dis
import inspect
import os
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from scalpel.extensions.undisturbed import undisturbed
from scalpel.runs.screened import screened

T = TypeVar("T")
HERE = Path(__file__).resolve().parents[1]  # the package: what is raised in it isn't the user's
_guards = threading.local()
_leave = os._exit
_owner = os.getpid()


class Failed(ValueError):
    """Users' code failed. The state of the run from before the call is intact."""


class Left(BaseException):
    """Users' code called os._exit, which would have ended the process without a message."""


def _stay(status: int) -> Any:
    """Replaces os._exit while users' code runs: this process continues, but one that the code forked may exit."""
    if getattr(_guards, "depth", 0) and os.getpid() == _owner:
        raise Left(status)
    _leave(status)


@contextmanager
def staying() -> Iterator[None]:
    """Within this context a call of os._exit in this thread raises instead of ending the process."""
    global _owner
    _owner = os.getpid()
    os._exit = _stay
    _guards.depth = getattr(_guards, "depth", 0) + 1
    try:
        yield
    finally:
        _guards.depth -= 1


def guarded(what: str, where: str, file: Path, run: Callable[[], T]) -> T:
    """The result of `run`. Raises Failed, with the line of the user's file, if the user's code raises or exits; a real
    Ctrl-C is passed on."""
    try:
        with staying(), undisturbed(), screened():
            return run()
    except Failed:
        raise
    except BaseException as error:
        if not users(error):
            raise
        raise Failed(f"{what} {ended(error)}{at(error, file)}{where}") from error


def users(error: BaseException) -> bool:
    """Whether the user's code raised the error. A Ctrl-C, which can interrupt any line, and errors that this package
    raises in signal handlers are not the user's."""
    if isinstance(error, Exception | Left):
        return True
    last = last_of(error.__traceback__)
    if last is None or Path(last.tb_frame.f_code.co_filename).is_relative_to(HERE):
        return False
    if isinstance(error, KeyboardInterrupt):
        return dis.opname[last.tb_frame.f_code.co_code[last.tb_lasti]] in ("RAISE_VARARGS", "RERAISE")
    return True


def last_of(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def ended(error: BaseException) -> str:
    """The error in words."""
    if isinstance(error, Left):
        return f"called os._exit({error.args[0]!r}), which would have ended the whole run"
    if isinstance(error, SystemExit):
        return f"called sys.exit({error.code!r}), which would have ended the whole run"
    try:
        words = str(error)
    except Exception:
        words = "whose text can't be made"
    return f"raised {type(error).__name__}: {words}"


def at(error: BaseException, file: Path) -> str:
    """The line of the user's file that raised the error, or else that of a file outside Python and this package."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f" at {Path(error.filename or file).name}:{error.lineno}"
    frames = [(Path(f.filename), f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    own = [(path, line) for path, line in frames if path == file]
    library = Path(os.__file__).parent
    other = [(p, n) for p, n in frames if not p.is_relative_to(HERE) and not p.is_relative_to(library) and p.is_file()]
    places = own or other
    return f" at {places[-1][0].name}:{places[-1][1]}" if places else ""


def settled(given: Any, count: int) -> Any:
    """The result of a function, awaited if it is a coroutine, collected if it is an iterator. At most one value more
    than `count` is taken, so that an endless iterator is recognised."""
    if inspect.isasyncgen(given):
        given = awaited(gathered(given, count))
    elif inspect.isawaitable(given):
        given = awaited(given)
    if isinstance(given, Iterator):
        return list(islice(given, count + 1))
    return given


async def gathered(given: AsyncIterator[Any], count: int) -> list[Any]:
    found: list[Any] = []
    async for value in given:
        found.append(value)
        if len(found) > count:
            break
    return found


def awaited(given: Awaitable[T]) -> T:
    """Its result, from a new event loop: in this thread, or in a new one if a loop is running in this one already."""

    async def wait() -> T:
        return await given

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    came: list[Any] = []

    def run() -> None:
        try:
            with staying():
                came.extend((True, asyncio.run(wait())))
        except BaseException as error:
            came.extend((False, error))

    thread = threading.Thread(target=run, name="scalpel-async")
    thread.start()
    thread.join()
    if not came[0]:
        raise came[1]
    return came[1]  # type: ignore[no-any-return]
