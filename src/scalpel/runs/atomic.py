"""Files and folders that are written whole or not at all, and what is left of those whose writer was killed."""

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

DRAFT = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.(part|old)", re.DOTALL)
UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)  # by file systems that have nothing to sync


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write a file or folder at, put in place only when it is complete and on the disk. On any failure
    nothing is left; a full disk is said in words."""
    draft, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_drafts(path.parent, path.name)
        mode = ordinary_mode(draft)
        yield draft
        settle(draft, mode)
        if path.is_dir():
            os.replace(path, old)
        os.replace(draft, path)
        sync(path.parent)
    except (OSError, SafetensorError) as error:
        raise unwritten(path, error) from error
    finally:
        if old.is_dir() and not path.exists():
            os.replace(old, path)
        for left in (draft, old):
            remove(left)


def ordinary_mode(at: Path) -> int:
    """The permissions that a new file gets in that folder. Some writers make theirs readable for the owner alone."""
    at.touch()
    mode = stat.S_IMODE(at.stat().st_mode)
    at.unlink()
    return mode


def settle(draft: Path, mode: int) -> None:
    """Gives each file of a draft these permissions, and has all of it written to the disk."""
    inside = sorted(draft.rglob("*"), reverse=True) if draft.is_dir() else []
    for path in (*inside, draft):
        if path.is_file() and not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
        sync(path)


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
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
    """Takes away what killed processes left in a folder, of one name or of all; where they were killed between moving
    the old folder away and the new one in, the new one, which was complete, goes in. Drafts of processes that live
    stay, unless this one is the `sole` writer there."""
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
    """Whether no other process of this machine has that number. One's own was another's before it was given again."""
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False


def unwritten(path: Path, error: Exception) -> OSError:
    """The words for a file or folder that could not be written. Safetensors keeps the system's number in its text."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := re.search(r"os error (\d+)", str(error))):
        number = int(found[1])
    there = next((p for p in path.absolute().parents if p.is_dir()), Path("/"))
    return OSError(
        number or errno.EIO,
        f"could not write {path} ({os.strerror(number) if number else error}; "
        f"{shutil.disk_usage(there).free / 1e9:.1f} GB free): free some space or choose another folder, then go on "
        "with --resume; what was there before is untouched",
    )


def write_text(path: Path, text: str) -> None:
    with whole(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
