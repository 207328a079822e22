"""Digests of files, by which a resumed run checks that the files it reads have not changed."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from scalpel.runs.atomic import write_text

PIECE = 1 << 22  # bytes read at once
LARGE = 1 << 26  # bytes from which a file's digest is cached between runs
MOST = 1000  # digests in the cache


def digest(path: Path) -> str:
    """The BLAKE2b digest of a file's bytes, in hexadecimal."""
    found = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def remembered(path: Path) -> str:
    """The same, cached for large files: a file with the same path, inode, size and times is taken as unchanged. The
    time of the last status change (ctime) is among them, since the modification time can be set to anything."""
    about, store = path.stat(), cache()
    if about.st_size < LARGE:
        return digest(path)
    key = f"{path.resolve()}:{about.st_ino}:{about.st_size}:{about.st_mtime_ns}:{about.st_ctime_ns}"
    known: dict[str, str] = {}
    with suppress(OSError, ValueError):
        known = json.loads(store.read_text(encoding="utf-8"))
    if key not in known:
        known = dict(list(known.items())[-MOST:]) | {key: digest(path)}
        with suppress(OSError):  # a cache that can't be written costs time only
            write_text(store, json.dumps(known, indent=0))
    return known[key]


def cache() -> Path:
    base = os.environ.get("SCALPEL_CACHE") or Path.home() / ".cache" / "scalpel"
    return Path(base).expanduser() / "digests.json"
