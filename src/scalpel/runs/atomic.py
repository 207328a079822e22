"""Atomic writes of files and folders, and the cleanup of drafts whose writer was killed."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

# `.part` is the new version under way, `.old` the previous one, moved aside; the process id says whose they are
DRAFT = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.(part|old)", re.DOTALL)
UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)  # errors of file systems that can't fsync


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields a draft path to write a file or folder at, which replaces `path` when the block ends without an error.

    On any failure `path` is as before and the draft is removed. Raises OSError that says how much space is free.
    """
    draft, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_drafts(path.parent, path.name)
        mode = ordinary_mode(draft)
        yield draft
        # fsync before the rename: otherwise a power failure can leave the new name with an empty file behind it
        settle(draft, mode)
        # A rename replaces a file atomically, but not a folder that isn't empty. So an old folder is moved aside first;
        # a crash between the two renames leaves `.old` and a complete `.part`, which `clear_drafts` puts in place.
        if path.is_dir():
            os.replace(path, old)
        os.replace(draft, path)
        sync(path.parent)  # the rename itself is an entry of the parent folder
    except (OSError, SafetensorError) as error:
        raise unwritten(path, error) from error
    finally:
        if old.is_dir() and not path.exists():
            os.replace(old, path)
        for left in (draft, old):
            remove(left)


def ordinary_mode(at: Path) -> int:
    """The permissions that an ordinary new file gets in that folder, by the umask. Some writers create
    files that only the owner can read."""
    at.touch()
    mode = stat.S_IMODE(at.stat().st_mode)
    at.unlink()
    return mode


def settle(draft: Path, mode: int) -> None:
    """Gives each file of a draft these permissions, and flushes all of it to the disk."""
    inside = sorted(draft.rglob("*"), reverse=True) if draft.is_dir() else []
    for path in (*inside, draft):
        if path.is_file() and not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
        sync(path)


def sync(path: Path) -> None:
    """fsync of a file, or of a folder's entries."""
    if path.is_symlink() or (path.is_dir() and os.name != "posix"):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNSYNCED:
            raise
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def clear_drafts(folder: Path, name: str | None = None, sole: bool = False) -> None:
    """Removes the drafts that killed processes left in a folder, of one name or of all. If a process was killed between
    the two renames of `whole`, the new version, which is complete then, is put in place. Drafts of running processes
    stay, unless this process is the `sole` writer there."""
    left = [
        path
        for path in sorted(folder.glob(".*"))
        if (match := DRAFT.fullmatch(path.name)) and name in (None, match["name"]) and (sole or dead(int(match["pid"])))
    ]
    for old in left:
        match = DRAFT.fullmatch(old.name)
        if match and old.suffix == ".old" and old.is_dir() and not (folder / match["name"]).exists():
            new = old.with_suffix(".part")
            os.replace(new if new.is_dir() else old, folder / match["name"])
    for path in left:
        remove(path)


def dead(pid: int) -> bool:
    """Whether no other process of this machine has that id. A draft with this process's own id is a dead one's: the
    system has reused the number."""
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # it runs, under another user
        pass
    return False


def unwritten(path: Path, error: Exception) -> OSError:
    """The error for a file or folder that could not be written. safetensors has the system's error number only in the
    text of its message."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := re.search(r"os error (\d+)", str(error))):
        number = int(found[1])
    there = next((p for p in path.absolute().parents if p.is_dir()), Path("/"))
    return OSError(
        number or errno.EIO,
        f"could not write {path} ({os.strerror(number) if number else error}; "
        f"{shutil.disk_usage(there).free / 1e9:.1f} GB free): free some space or choose another folder, then continue "
        "with --resume; what was there before is unchanged",
    )


def write_text(path: Path, text: str) -> None:
    with whole(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
