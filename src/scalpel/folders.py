"""Folders and files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def put(folder: Path, write: Callable[[Path], None]) -> Path:
    """Lets `write` fill a folder beside the wanted one, then swaps it in; if anything fails, nothing has changed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    fresh, old = work / "new", work / "old"
    try:
        fresh.mkdir()
        write(fresh)
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(fresh, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder
