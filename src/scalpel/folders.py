"""Files and folders: written whole or not at all, and named when they are missing."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from scalpel.runs import whole


def put(folder: Path, write: Callable[[Path], None]) -> Path:
    """Lets `write` fill a folder beside the wanted one, then swaps it in; if anything fails, nothing has changed."""
    with whole(folder) as fresh:
        fresh.mkdir()
        write(fresh)
    return folder


def existing(path: str | Path) -> Path:
    """The path of a file that is there, or ValueError with the nearest name in its folder."""
    file = Path(path).expanduser()
    if file.is_file():
        return file
    if file.is_dir():
        raise ValueError(f"{path} is a folder: give one file of it ({listed(file)})")
    raise ValueError(f"no file {path}: {nearest(file)}")


def nearest(path: Path) -> str:
    """What there is in place of a path that does not exist."""
    there = next(p for p in path.absolute().parents if p.is_dir())
    close = get_close_matches(path.name, [p.name for p in there.iterdir()], n=1, cutoff=0.5)
    return f"did you mean {there / close[0]}?" if close else f"{there} holds {listed(there)}"


def listed(folder: Path, most: int = 8) -> str:
    names = sorted(p.name for p in folder.iterdir())
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "nothing"
