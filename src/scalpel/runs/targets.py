"""Where a run may write: into a folder that is absent or empty, or into a run of the same kind that is resumed. Other
files are never replaced or removed."""

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
COMPARED = {"arms", "comparison.json", "before.json", "tuning.json", "runs.json"}
BEGINNING = {"recipe.toml", "environment.json", "origin.json"}  # what is written before anything is computed
WORDS = {"run": "a run", "comparison": "a comparison", "ledger": "a ledger"}


@contextmanager
def claimed(folder: Path, kind: Kind, *, resume: bool = False, anew: bool = False) -> Iterator[bool]:
    """Claims a folder for a run, with a lock against other processes. Yields whether it holds a run to resume.

    Raises ValueError, with nothing changed, if the folder may not be written to. A run that fails before its first step
    leaves nothing behind. `anew` removes the run that is there.
    """
    refuse(folder, kind, resume or anew)  # before the folder is created
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder):
            begun = refuse(folder, kind, resume or anew)  # again under the lock: another process may have begun a run
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
        for path in missing:  # the folders that were created here, innermost first
            with suppress(OSError):  # it isn't empty: the run is in it
                path.rmdir()


def refuse(folder: Path, kind: Kind, resume: bool) -> bool:
    """Whether the folder holds a run of this kind. Raises ValueError if that is not to be resumed, or if the folder
    holds something else."""
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
            f"{folder} holds {holds} ({listed(folder)}), to which no run is added: choose a folder that is absent "
            "or empty (--out)"
        )
    if found != kind:
        raise ValueError(f"{folder} holds {WORDS[found]}, not {WORDS[kind]}: choose another folder (--out)")
    if not resume:
        raise ValueError(
            f"{folder} already holds {WORDS[kind]}: continue it with --resume, choose another folder (--out), or "
            "remove it"
        )
    return True


def refuse_taken(folder: Path) -> None:
    """Raises ValueError unless a model may be written there: the folder must be absent or empty."""
    if folder.is_symlink() and not folder.exists():
        raise ValueError(f"{folder} is a link to nothing: choose a folder that is absent or empty (--out)")
    if folder.resolve() == Path.cwd():
        raise ValueError(f"{folder} is the current folder, which can't be replaced: name a folder within it (--out)")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file, so nothing can be written into it: choose another name (--out)")
    if any(folder.iterdir()):
        holds = "a model" if is_model(folder) else "files"
        raise ValueError(
            f"{folder} is there already and holds {holds} ({listed(folder)}), to which no model is added: choose a "
            "folder that is absent or empty (--out), or remove it first"
        )


def contents(folder: Path) -> set[str]:
    """The names in a folder, without the lock file and drafts."""
    names = {path.name for path in folder.iterdir()}
    return {name for name in names if name != NAME and not DRAFT.fullmatch(name)}


def standing(folder: Path, inside: set[str], kind: Kind) -> Kind | None:
    """The kind of run that a folder holds; None if it holds something else. A run that was killed at its very beginning
    could be of any kind, so it is taken as the kind that is asked for."""
    if is_model(folder):
        return None
    killed = (folder / NAME).exists()
    if inside <= BEGINNING and (killed or inside == BEGINNING - {"origin.json"}):
        return kind
    if not {"recipe.toml", "environment.json"} <= inside:
        return None
    return "comparison" if inside & COMPARED else "run"


def is_model(folder: Path) -> bool:
    """Whether a folder is a model folder; the model of a run lies one level below."""
    names = ("config.json", "adapter_config.json")
    return any((folder / name).exists() for name in names) or any(folder.glob("*.safetensors.index.json"))


def emptied(folder: Path) -> None:
    """Removes everything in a run folder except its lock file, which is held by this process."""
    for path in folder.iterdir():
        if path.name != NAME:
            remove(path)


def stepped(folder: Path) -> bool:
    """Whether the folder holds results that took time: a training step, tuning trials, or an evaluation of the base."""
    seen = any((folder / name).exists() for name in ("before.json", "tuning.json", "runs.json"))
    return seen or any(began(record) for record in folder.rglob("metrics.jsonl"))


def began(record: Path) -> bool:
    """Whether a run has taken a step."""
    with record.open(encoding="utf-8", errors="replace") as lines:
        return any(trains(line) for line in lines if line.endswith("\n"))


def trains(line: str) -> bool:
    try:
        return bool(json.loads(line)["kind"] == "train")
    except (ValueError, KeyError, TypeError, RecursionError):
        return True  # a damaged line: the user decides whether the run is worth keeping
