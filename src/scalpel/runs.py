"""A run folder: recipe, environment, metrics, checkpoints. Everything is written whole or not at all."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

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


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write a file or folder at, put in place only when it is complete. On any failure nothing is left;
    a full disk is said in words."""
    draft, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        if path.is_dir():
            os.replace(path, old)
        os.replace(draft, path)
    except (OSError, SafetensorError) as error:
        raise unwritten(path, error) from error
    finally:
        if old.is_dir() and not path.exists():
            os.replace(old, path)
        for left in (draft, old):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


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
    """Saves nested tables of tensors and plain values as safetensors and JSON, atomically."""
    tensors: dict[str, Tensor] = {}
    tree = flatten(state, "", tensors)
    with whole(folder) as draft:
        draft.mkdir()
        save_file(tensors, draft / "tensors.safetensors")
        (draft / "state.json").write_text(json.dumps(tree))


def load_state(folder: Path) -> dict[str, Any]:
    return unflatten(json.loads((folder / "state.json").read_text()), load_file(folder / "tensors.safetensors"))


class Run:
    """One run folder under way."""

    def __init__(self, folder: Path, resume: bool = False) -> None:
        self.folder = folder
        occupied = folder.exists() and (folder / "metrics.jsonl").exists()
        if occupied and not resume:
            raise ValueError(f"{folder} already holds a run: go on with --resume, or choose another folder (--out)")
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = folder / "metrics.jsonl"
        self.track: Callable[[Mapping[str, Any]], None] = lambda record: None  # gets each record, too
        for left in (folder / "checkpoints").glob(".checkpoint-*"):  # by a process that was killed while writing
            shutil.rmtree(left, ignore_errors=True)

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        found = (self.folder / "checkpoints").glob("checkpoint-*")
        return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))

    def checkpoint(self, step: int, state: Mapping[str, Any], kept: int = KEPT) -> Path:
        """Saves a state and how much was recorded until then; drops all but the last few."""
        path = self.folder / "checkpoints" / f"checkpoint-{step}"
        save_state(path, {**state, "lines": len(self._lines())})
        for old in self.checkpoints()[:-kept]:
            shutil.rmtree(old)
        return path

    def last_checkpoint(self) -> dict[str, Any] | None:
        found = self.checkpoints()
        return load_state(found[-1]) if found else None

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
        return [record for line in self._lines() if (record := json.loads(line))["kind"] == kind]

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
                write_text(path, "".join(x for x in whole_lines(path) if json.loads(x)["step"] <= step))

    def _lines(self) -> list[str]:
        return whole_lines(self._metrics)


def whole_lines(path: Path) -> list[str]:
    """The lines of a file; one that was cut short, by a process that was killed, is not among them."""
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    return [line + "\n" for line in found.split("\n")[:-1]]  # texts may hold other line separators
