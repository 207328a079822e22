"""A lock on a folder, for one process at a time. The operating system releases it when its process ends, in whatever
way, which a lock by the mere existence of a file would not do."""

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
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("scalpel")
NAME = ".lock"
held: set[int] = set()


def forget() -> None:
    """Closes the handles of locks in a forked child. A flock belongs to the open file, which a child shares, so a child
    that lives on would hold the lock after its parent has ended."""
    for handle in held:
        with suppress(OSError):
            os.close(handle)
    held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks an existing folder. Raises ValueError that names the process that holds it.

    The lock file holds the owner's process id, host and time. It stays if the block fails in a folder that a killed
    process had left: `targets.standing` takes the file as the sign of a killed run.
    """
    path = folder / NAME
    handle = taken(path)
    if handle is None:
        log.warning("%s can't be locked on this file system: make sure that no second process uses it", folder)
        yield
        return
    before = os.read(handle, 4096)  # written by a process that was killed, else empty
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
        if handle in held:  # else this is a forked child, and the lock is its parent's
            held.discard(handle)
            # removed before it is closed: a file that is removed after the release may be another process's lock
            if not before:
                path.unlink(missing_ok=True)
            os.close(handle)


def written(handle: int, about: bytes) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, about, 0)


def taken(path: Path) -> int | None:
    """The handle of the locked file, or None where the file system doesn't support locks."""
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
        os.close(handle)  # the previous owner removed this file between our open and lock: try the new one


def refusal(folder: Path, about: bytes) -> str:
    try:
        who = json.loads(about)
        words = f"process {who['pid']} on {who['host']}, since {who['since']}"
    except (ValueError, KeyError, TypeError):
        words = "another process"
    return f"{folder} is in use by {words}: wait until it ends, or stop it; or choose another folder (--out)"
