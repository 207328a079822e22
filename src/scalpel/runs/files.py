"""Names of files and folders: which are valid, and which is the nearest to one that is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path

from scalpel.runs.atomic import whole

LONGEST = 100  # characters of a name; file systems allow 255 bytes, of which drafts and endings need some
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def path_name(name: str, what: str) -> str:
    """The name, if it is valid for a folder or file on every common system. Raises ValueError with the reason if
    not."""
    reasons = {
        "is empty": not name.strip(),
        "has a / or \\ in it, and would lie in another folder": "/" in name or "\\" in name,
        "has a character in it that can't be printed": not name.isprintable(),
        "begins with a dot, which hides it or leads out of the folder": name.startswith("."),
        "begins with a dash, as options do": name.startswith("-"),
        "begins or ends with a space or ends with a dot": name != name.strip() or name.endswith("."),
        f"has {len(name)} characters, more than {LONGEST}": len(name.encode(errors="replace")) > 2 * LONGEST
        or len(name) > LONGEST,
        "is reserved by some systems": name.partition(".")[0].lower() in RESERVED,
    }
    if why := next((reason for reason, holds in reasons.items() if holds), None):
        raise ValueError(f"{what} {name[:LONGEST]!r} becomes a name on disk, but {why}: take letters, digits, - and _")
    return name


def apart(names: Iterable[str], what: str) -> None:
    """Raises ValueError if two names would be the same on a file system that ignores case (macOS, Windows)."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other is not name:
            twice = f"are both {name!r}" if other == name else f"{other!r} and {name!r} differ only in case"
            raise ValueError(f"two {what} {twice}, and would share a place on disk: rename one")


def file_names(names: Iterable[str], what: str) -> dict[str, str]:
    """A file name for each name, with dashes for characters that a file name can't have. Raises ValueError if two names
    would get the same one."""
    found = {name: "".join(c if c.isalnum() or c in "-_." else "-" for c in name) for name in names}
    for name in found.values():
        path_name(name, f"the {what}")
    apart(found.values(), f"{what}s")
    return found


def put(folder: Path, write: Callable[[Path], None]) -> Path:
    """Writes a folder atomically: `write` fills a draft, which then replaces `folder`; on failure nothing changes."""
    with whole(folder) as fresh:
        fresh.mkdir()
        write(fresh)
    return folder


def existing(path: str | Path) -> Path:
    """The path of an existing file. Raises ValueError with the nearest name in its folder otherwise."""
    file = Path(path).expanduser()
    if file.is_file():
        return file
    if file.is_dir():
        raise ValueError(f"{path} is a folder: give one file of it ({listed(file)})")
    raise ValueError(f"no file {path}: {nearest(file)}")


def nearest(path: Path) -> str:
    """A hint for a path that doesn't exist: the nearest name, or the names in its folder."""
    there = next(p for p in path.absolute().parents if p.is_dir())
    close = get_close_matches(path.name, [p.name for p in there.iterdir()], n=1, cutoff=0.5)
    return f"did you mean {there / close[0]}?" if close else f"{there} holds {listed(there)}"


def listed(folder: Path, most: int = 8) -> str:
    names = sorted(p.name for p in folder.iterdir())
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "nothing"
