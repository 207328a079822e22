"""One process a folder: a lock that goes with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # a system without it, where nothing is locked
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("scalpel")
NAME = ".lock"
held: set[int] = set()


def forget() -> None:
    """A copy of this process has not got its locks: they must not outlive the one that took them."""
    for handle in held:
        with suppress(OSError):
            os.close(handle)
    held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps others out of a folder that is there. Raises ValueError that says who is in it."""
    path = folder / NAME
    handle = taken(path)
    if handle is None:
        log.warning("%s can't be locked on this file system: see that no second process uses it", folder)
        yield
        return
    before = os.read(handle, 4096)  # of a process that was killed
    about = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    written(handle, json.dumps(about).encode())
    held.add(handle)
    try:
        yield
    except BaseException:
        if before and handle in held:
            written(handle, before)
        raise
    else:
        before = b""
    finally:
        if handle in held:  # else this is a copy of the process
            held.discard(handle)
            if not before:
                path.unlink(missing_ok=True)
            os.close(handle)


def written(handle: int, about: bytes) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, about, 0)


def taken(path: Path) -> int | None:
    """The locked file, or None where the file system knows no locks."""
    if fcntl is None:
        return None
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            about = os.read(handle, 4096)
            os.close(handle)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise ValueError(refusal(path.parent, about)) from None
            return None
        with suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        os.close(handle)  # the one before took it away as it went


def refusal(folder: Path, about: bytes) -> str:
    try:
        who = json.loads(about)
        words = f"process {who['pid']} on {who['host']}, since {who['since']}"
    except (ValueError, KeyError, TypeError):
        words = "another process"
    return f"{folder} is in use by {words}: wait until it ends, or stop it; or choose another folder (--out)"
