"""A run folder: recipe, environment, metrics, checkpoints. Everything is written whole or not at all."""

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
STOPPED = "stopped.json"  # why a run broke down, until it has gone on
KEPT = 2  # checkpoints kept in a run folder
FULL = 8_000_000  # bytes of completions.jsonl, after which it becomes completions.1.jsonl and a new one is begun
COMPLETIONS = ("completions.jsonl", "completions.1.jsonl")
PACKAGES = ("scalpel-lm", "torch", "transformers", "peft", "datasets", "safetensors", "reasoning-gym", "math-verify")


def environment() -> dict[str, Any]:
    """Versions and the machine, as far as they bear on numbers."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return {"python": platform.python_version(), "device": device, "threads": torch.get_num_threads(), **versions}


def flatten(tree: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """Nested tables with tensors → plain JSON in which each tensor is named, and the tensors by name."""
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
    """Whether JSON gives a value back as it was."""
    return value is None or isinstance(value, bool | int | float | str)


def unflatten(tree: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    if "table" in tree:
        return {k: unflatten(v, tensors) for k, v in tree["table"]}
    return [unflatten(v, tensors) for v in tree["list"]] if "list" in tree else tree["value"]


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Saves nested tables of tensors and plain values as safetensors and JSON, atomically, with a digest of each."""
    tensors: dict[str, Tensor] = {}
    tree = flatten(state, "", tensors)
    with whole(folder) as draft:
        draft.mkdir()
        save_file(tensors, draft / "tensors.safetensors")
        (draft / "state.json").write_text(json.dumps(tree))
        digests = {name: digest(draft / name) for name in FILES}
        (draft / "digests.json").write_text(json.dumps(digests, indent=1) + "\n")


def load_state(folder: Path) -> dict[str, Any]:
    """What was saved there. Raises Damaged, which names the file, if it isn't what was written."""
    verify(folder)
    try:
        return unflatten(
            read_json(folder / "state.json", dict),
            load_file(folder / "tensors.safetensors"),
        )
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise Damaged(f"{folder} can't be read: {error}") from error


class Damaged(ValueError):
    """A checkpoint that isn't what was written."""


def verify(folder: Path) -> None:
    """Raises Damaged unless every file of a checkpoint has the digest that was written beside it. Checkpoints of
    earlier versions have none."""
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
    """One run folder under way."""

    def __init__(self, folder: Path, resume: bool = False) -> None:
        self.folder = folder
        occupied = folder.exists() and (folder / "metrics.jsonl").exists()
        if occupied and not resume:
            raise ValueError(f"{folder} already holds a run: go on with --resume, or choose another folder (--out)")
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = folder / "metrics.jsonl"
        self.track: Callable[[Mapping[str, Any]], None] = lambda record: None  # gets each record, too
        clear_drafts(folder / "checkpoints", sole=True)  # by a process that was killed while writing

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        found = [p for p in (self.folder / "checkpoints").glob("checkpoint-*") if step_of(p).isdigit()]
        return sorted(found, key=lambda path: int(step_of(path)))

    def checkpoint(self, step: int, state: Mapping[str, Any], kept: int = KEPT) -> Path:
        """Saves a state and how much was recorded until then; drops all but the last few."""
        path = self.folder / "checkpoints" / f"checkpoint-{step}"
        if self._metrics.exists():
            sync(self._metrics)  # what it counts must not be lost before it
        save_state(path, {**state, "lines": self.lines()})
        (self.folder / STOPPED).unlink(missing_ok=True)
        self.drop(self.checkpoints()[:-kept])
        return path

    def drop(self, checkpoints: Sequence[Path]) -> None:
        """Takes checkpoints away, each as a whole."""
        for path in checkpoints:
            aside = path.with_name(f".{path.name}.{os.getpid()}.part")
            os.replace(path, aside)
            shutil.rmtree(aside, ignore_errors=True)

    def last_checkpoint(self, name: str = "") -> dict[str, Any] | None:
        """What the last checkpoint holds, or the one of that name. Raises ValueError if it is damaged, and names one
        before it that is whole."""
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
        """Notes why a run broke down, and which keys may change when it goes on."""
        write_json(self.folder / STOPPED, {"why": why, "may_change": list(may_change)})

    def may_change(self) -> list[str]:
        """The keys that may change on resume, since the run broke down and advised that."""
        path = self.folder / STOPPED
        return list(read_json(path, {"may_change": [str]})["may_change"]) if path.exists() else []

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends a line to metrics.jsonl."""
        with self._metrics.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")
        self.track(record)

    def last_record(self, kind: str) -> dict[str, Any]:
        """The last line of a kind in metrics.jsonl."""
        return self.records(kind)[-1]

    def records(self, kind: str) -> list[dict[str, Any]]:
        """All lines of a kind in metrics.jsonl."""
        return [record for record in whole_records(self._metrics, {"kind": str}) if record["kind"] == kind]

    def show(self, record: Mapping[str, Any], completions: Sequence[Mapping[str, Any]]) -> None:
        """Appends the completions of that record's step to completions.jsonl. The last ones are always there."""
        at, before = (self.folder / name for name in COMPLETIONS)
        if at.exists() and at.stat().st_size > FULL:
            os.replace(at, before)
        where = {"step": record["step"], "stage": record["stage"]}
        if completions:
            with at.open("a", encoding="utf-8") as lines:
                lines.writelines(json.dumps({**where, **row}, allow_nan=False) + "\n" for row in completions)

    def keep(self, lines: int, step: int) -> None:
        """Drops what was recorded after the first so many lines, or after that step, since a resumed run records it
        again."""
        if self._metrics.exists():
            write_text(self._metrics, "".join(self._lines()[:lines]))
        for path in (self.folder / name for name in COMPLETIONS):
            if path.exists():
                rows = zip(whole_lines(path), whole_records(path, {"step": int}), strict=True)
                write_text(path, "".join(line for line, row in rows if row["step"] <= step))

    def lines(self) -> int:
        """How many lines are recorded."""
        return len(self._lines())

    def _lines(self) -> list[str]:
        return whole_lines(self._metrics)


def step_of(checkpoint: Path) -> str:
    return checkpoint.name.rpartition("-")[2]


def instead(before: Sequence[Path]) -> str:
    """What to do without a checkpoint that is damaged."""
    for path in reversed(before):
        try:
            load_state(path)
        except Damaged:
            continue
        return f"The one before, {path}, is whole: `--resume --checkpoint {path.name}` goes on from it"
    return "There is no other that is whole: begin anew in another folder (--out)"


def whole_lines(path: Path) -> list[str]:
    """The lines of a file; one that was cut short, by a process that was killed, is not among them."""
    found = read_text(path) if path.exists() else ""
    return [line + "\n" for line in found.split("\n")[:-1]]  # texts may hold other line separators


def whole_records(path: Path, shape: Any) -> list[dict[str, Any]]:
    """What those lines hold. Raises ValueError that names the file and the line where one is damaged."""
    records = []
    for number, line in enumerate(whole_lines(path), start=1):
        records.append(decoded(line, f"{path}:{number}"))
        refuse_other_shape(records[-1], shape, f"{path}:{number}")
    return records
