"""Where a run may write: into a folder that is absent or empty, or on in a run of its own kind. What was there before
is never replaced, and never taken away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from scalpel.runs.atomic import DRAFT, clear_drafts, remove
from scalpel.runs.files import listed
from scalpel.runs.lock import NAME, locked

Kind = Literal["run", "comparison", "ledger"]
COMPARED = {"arms", "comparison.json", "before.json", "tuning.json"}
BEGINNING = {"recipe.toml", "environment.json", "origin.json"}  # what is written before anything is computed
WORDS = {"run": "a run", "comparison": "a comparison", "ledger": "a ledger"}


@contextmanager
def claimed(folder: Path, kind: Kind, *, resume: bool = False, anew: bool = False) -> Iterator[bool]:
    """Takes a folder for a run, and says whether there is one to go on with. No other process gets it meanwhile.

    Raises ValueError, with nothing changed, where the folder is no target. What fails before its first step leaves
    nothing behind. `anew` clears away the run that is there.
    """
    refuse(folder, kind, resume or anew)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder):
            begun = refuse(folder, kind, resume or anew)
            if begun:
                clear_drafts(folder, sole=True)
            if anew:
                emptied(folder)
                begun = False
            try:
                yield begun
            except BaseException:
                if not begun and not stepped(folder):
                    emptied(folder)
                raise
    finally:
        for path in missing:  # where nothing was left in them
            with suppress(OSError):
                path.rmdir()


def refuse(folder: Path, kind: Kind, resume: bool) -> bool:
    """Whether a run of this kind stands there. Raises ValueError where it may not be gone on with, or where something
    else is."""
    if not folder.exists() and not folder.is_symlink():
        return False
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file, so nothing can be written into it: choose another name (--out)")
    inside = contents(folder)
    if not inside:
        return False
    found = standing(folder, inside, kind)
    if found is None:
        holds = "a model" if is_model(folder) else "a ledger" if "ledger" in inside else "files that are no run"
        raise ValueError(
            f"{folder} holds {holds} ({listed(folder)}), with which nothing is mixed: choose a folder that is absent "
            "or empty (--out)"
        )
    if found != kind:
        raise ValueError(f"{folder} holds {WORDS[found]}, not {WORDS[kind]}: choose another folder (--out)")
    if not resume:
        raise ValueError(
            f"{folder} already holds {WORDS[kind]}: go on with --resume, or choose another folder (--out), or remove it"
        )
    return True


def refuse_taken(folder: Path) -> None:
    """Raises ValueError where no model may be written: only a folder that is absent or empty is a target."""
    if folder.is_symlink() and not folder.exists():
        raise ValueError(f"{folder} is a link to nothing: choose a folder that is absent or empty (--out)")
    if folder.resolve() == Path.cwd():
        raise ValueError(f"{folder} is the folder that you are in, which can't be replaced: name one in it (--out)")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file, so nothing can be written into it: choose another name (--out)")
    if any(folder.iterdir()):
        holds = "a model" if is_model(folder) else "files"
        raise ValueError(
            f"{folder} is there already and holds {holds} ({listed(folder)}), with which nothing is mixed: choose a "
            "folder that is absent or empty (--out), or remove it first"
        )


def contents(folder: Path) -> set[str]:
    """The names in a folder, but for our own lock and drafts."""
    names = {path.name for path in folder.iterdir()}
    return {name for name in names if name != NAME and not DRAFT.fullmatch(name)}


def standing(folder: Path, inside: set[str], kind: Kind) -> Kind | None:
    """What run of ours is in a folder; one that was killed as it began may be of any kind."""
    if is_model(folder):
        return None
    killed = (folder / NAME).exists()
    if inside <= BEGINNING and (killed or inside == BEGINNING - {"origin.json"}):
        return kind
    if not {"recipe.toml", "environment.json"} <= inside:
        return None
    return "comparison" if inside & COMPARED else "run"


def is_model(folder: Path) -> bool:
    """Whether a folder itself holds weights; a run keeps its own one level below."""
    names = ("config.json", "adapter_config.json")
    return any((folder / name).exists() for name in names) or any(folder.glob("*.safetensors.index.json"))


def emptied(folder: Path) -> None:
    """Takes away all that a folder of ours holds, but for its lock."""
    for path in folder.iterdir():
        if path.name != NAME:
            remove(path)


def stepped(folder: Path) -> bool:
    """Whether something there is worth keeping: a step of a run, learning rates that were tried, a look at the base."""
    seen = any((folder / name).exists() for name in ("before.json", "tuning.json"))
    return seen or any(began(record) for record in folder.rglob("metrics.jsonl"))


def began(record: Path) -> bool:
    """Whether a run has taken a step."""
    with record.open(encoding="utf-8", errors="replace") as lines:
        return any(trains(line) for line in lines if line.endswith("\n"))


def trains(line: str) -> bool:
    try:
        return bool(json.loads(line)["kind"] == "train")
    except (ValueError, KeyError, TypeError, RecursionError):
        return True  # it is damaged: whether it is worth keeping is for the user to say
