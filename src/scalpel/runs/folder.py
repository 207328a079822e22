"""A run folder: recipe, environment, metrics, checkpoints. Files are written atomically, records appended."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from scalpel.runs.atomic import (
    clear_drafts,
    sync,
    whole,
    write_json,
    write_text,
)
from scalpel.runs.digests import digest
from scalpel.runs.json_files import decoded, read_json, read_text, refuse_other_shape

FILES = ("tensors.safetensors", "state.json")  # of a checkpoint
STOPPED = "stopped.json"  # why a run failed, until it has been resumed
KEPT = 2  # checkpoints kept in a run folder
COMPLETIONS = ("completions.jsonl", "completions.1.jsonl")
PACKAGES = ("scalpel-lm", "torch", "transformers", "peft", "datasets", "safetensors", "reasoning-gym", "math-verify")


def environment() -> dict[str, Any]:
    """Versions of packages, and the machine, as far as they may change results."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return {"python": platform.python_version(), "device": device, "threads": torch.get_num_threads(), **versions}


def flatten(tree: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """Nested tables with tensors → a tree for JSON, which refers to tensors by name; adds the tensors to `tensors`.

    A table becomes a list of pairs, since JSON would turn its integer keys into text.
    """
    if isinstance(tree, Tensor):
        tensors[place] = tree.detach().cpu().contiguous().clone()
        return {"tensor": place}
    if isinstance(tree, Mapping):
        return {"table": [[k, flatten(v, f"{place}/{k}", tensors)] for k, v in tree.items()]}
    if isinstance(tree, list | tuple):
        return {"list": [flatten(v, f"{place}/{i}", tensors) for i, v in enumerate(tree)]}
    assert storable(tree), f"{place} is a {type(tree).__name__}, which a checkpoint can't hold"
    return {"value": tree}


def storable(value: Any) -> bool:
    """Whether a value is the same after a round trip through JSON."""
    return value is None or isinstance(value, bool | int | float | str)


def unflatten(tree: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    if "table" in tree:
        return {k: unflatten(v, tensors) for k, v in tree["table"]}
    return [unflatten(v, tensors) for v in tree["list"]] if "list" in tree else tree["value"]


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Saves nested tables of tensors and plain values as safetensors and JSON, atomically, with the digest of each
    file. A digest finds what atomic writes can't prevent: a disk that fails, or a copy that was cut short."""
    tensors: dict[str, Tensor] = {}
    tree = flatten(state, "", tensors)
    with whole(folder) as draft:
        draft.mkdir()
        save_file(tensors, draft / "tensors.safetensors")
        (draft / "state.json").write_text(json.dumps(tree))
        digests = {name: digest(draft / name) for name in FILES}
        (draft / "digests.json").write_text(json.dumps(digests, indent=1) + "\n")


def load_state(folder: Path) -> dict[str, Any]:
    """The state that `save_state` saved. Raises Damaged, which names the file, if it isn't what was written."""
    verify(folder)
    try:
        return unflatten(
            read_json(folder / "state.json", dict),
            load_file(folder / "tensors.safetensors"),
        )
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise Damaged(f"{folder} can't be read: {error}") from error


class Damaged(ValueError):
    """A checkpoint whose files aren't what was written."""


def verify(folder: Path) -> None:
    """Raises Damaged unless every file of a checkpoint has its digest from digests.json. Checkpoints of earlier
    versions have no digests, and are accepted."""
    path = folder / "digests.json"
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise Damaged(f"{folder / missing[0]} is missing")
    if not path.exists():
        return
    try:
        digests = read_json(path, dict)
    except ValueError as error:
        raise Damaged(f"{path} is not what was written: {error}") from None
    for name in FILES:
        if digests.get(name) != digest(folder / name):
            raise Damaged(f"{folder / name} is not what was written: it has another digest than in {path.name}")


class RunFolder:
    """The folder of a run that is being written. Raises ValueError if it holds a run that is not to be resumed."""

    def __init__(self, folder: Path, resume: bool = False, completions_bytes: int = 8_000_000) -> None:
        """completions.jsonl is renamed to completions.1.jsonl when it has more than `completions_bytes`."""
        self.folder, self.completions_bytes = folder, completions_bytes
        occupied = folder.exists() and (folder / "metrics.jsonl").exists()
        if occupied and not resume:
            raise ValueError(
                f"{folder} already holds a run: continue it with --resume, or choose another folder (--out)"
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = folder / "metrics.jsonl"
        self.track: Callable[[Mapping[str, Any]], None] = lambda record: None  # is called with each record
        clear_drafts(folder / "checkpoints", sole=True)  # of a process that was killed while writing

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        found = [p for p in (self.folder / "checkpoints").glob("checkpoint-*") if step_of(p).isdigit()]
        return sorted(found, key=lambda path: int(step_of(path)))

    def checkpoint(self, step: int, state: Mapping[str, Any], kept: int = KEPT) -> Path:
        """Saves a state with the number of lines in metrics.jsonl, and removes all but the last `kept` checkpoints."""
        path = self.folder / "checkpoints" / f"checkpoint-{step}"
        if self._metrics.exists():
            sync(self._metrics)  # before the checkpoint: the lines that it counts must be on disk when it is
        save_state(path, {**state, "lines": self.lines()})
        (self.folder / STOPPED).unlink(missing_ok=True)
        self.drop(self.checkpoints()[:-kept])
        return path

    def drop(self, checkpoints: Sequence[Path]) -> None:
        """Removes checkpoints. Each is renamed to a draft first, so that a crash leaves no half of a checkpoint under a
        name that resuming would take."""
        for path in checkpoints:
            aside = path.with_name(f".{path.name}.{os.getpid()}.part")
            os.replace(path, aside)
            shutil.rmtree(aside, ignore_errors=True)

    def last_checkpoint(self, name: str = "") -> dict[str, Any] | None:
        """The state of the last checkpoint, or of the one with that name; None if there is none. Raises ValueError if
        it is damaged, and names the last intact one before it."""
        found = self.checkpoints()
        if name and name not in [path.name for path in found]:
            names = ", ".join(path.name for path in found) or "none"
            raise ValueError(f"{self.folder} has no checkpoint {name!r}: there are {names}")
        if name:
            found = found[: [path.name for path in found].index(name) + 1]
        if not found:
            return None
        try:
            return load_state(found[-1])
        except Damaged as error:
            raise ValueError(f"the checkpoint is damaged: {error}. {instead(found[:-1])}") from error

    def note_stop(self, why: str, may_change: Sequence[str] = ()) -> None:
        """Records why a run failed, and which keys of the recipe may change when it is resumed."""
        write_json(self.folder / STOPPED, {"why": why, "may_change": list(may_change)})

    def may_change(self) -> list[str]:
        """The keys of the recipe that may change on resume, as advised when the run failed."""
        path = self.folder / STOPPED
        return list(read_json(path, {"may_change": [str]})["may_change"]) if path.exists() else []

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends a line to metrics.jsonl. Without fsync, which would cost a write per step: `checkpoint` syncs, and
        later lines are recorded again when the run is resumed."""
        with self._metrics.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")
        self.track(record)

    def last_record(self, kind: str) -> dict[str, Any]:
        """The last line of that kind in metrics.jsonl."""
        return self.records(kind)[-1]

    def records(self, kind: str) -> list[dict[str, Any]]:
        """All lines of that kind in metrics.jsonl."""
        return [record for record in whole_records(self._metrics, {"kind": str}) if record["kind"] == kind]

    def show(self, record: Mapping[str, Any], completions: Sequence[Mapping[str, Any]]) -> None:
        """Appends the completions of the record's step to completions.jsonl. The files are rotated, so that their size
        is bounded and the last completions are always there."""
        at, before = (self.folder / name for name in COMPLETIONS)
        if at.exists() and at.stat().st_size > self.completions_bytes:
            os.replace(at, before)
        where = {"step": record["step"], "stage": record["stage"]}
        if completions:
            with at.open("a", encoding="utf-8") as lines:
                lines.writelines(json.dumps({**where, **row}, allow_nan=False) + "\n" for row in completions)

    def keep(self, lines: int, step: int) -> None:
        """Drops all records after the first `lines` lines, and all completions after that step: a resumed run records
        them again."""
        if self._metrics.exists():
            write_text(self._metrics, "".join(self._lines()[:lines]))
        for path in (self.folder / name for name in COMPLETIONS):
            if path.exists():
                rows = zip(whole_lines(path), whole_records(path, {"step": int}), strict=True)
                write_text(path, "".join(line for line, row in rows if row["step"] <= step))

    def lines(self) -> int:
        """The number of complete lines in metrics.jsonl."""
        return len(self._lines())

    def _lines(self) -> list[str]:
        return whole_lines(self._metrics)


def step_of(checkpoint: Path) -> str:
    return checkpoint.name.rpartition("-")[2]


def instead(before: Sequence[Path]) -> str:
    """The advice for a damaged checkpoint: the last intact one before it."""
    for path in reversed(before):
        try:
            load_state(path)
        except Damaged:
            continue
        return f"An earlier one, {path}, is intact: `--resume --checkpoint {path.name}` continues from it"
    return "There is no other that is intact: begin a new run in another folder (--out)"


def whole_lines(path: Path) -> list[str]:
    """The complete lines of a file. A last line without its end, from a process that was killed, is left out."""
    found = read_text(path) if path.exists() else ""
    # not str.splitlines(), which also splits at separators such as U+2028 that JSON leaves unescaped within texts
    return [line + "\n" for line in found.split("\n")[:-1]]


def whole_records(path: Path, shape: Any) -> list[dict[str, Any]]:
    """The records in the complete lines of a file. Raises ValueError that names file and line where one is damaged."""
    records = []
    for number, line in enumerate(whole_lines(path), start=1):
        records.append(decoded(line, f"{path}:{number}"))
        refuse_other_shape(records[-1], shape, f"{path}:{number}")
    return records
