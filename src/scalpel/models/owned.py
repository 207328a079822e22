"""Saving and loading of modules that parts own, such as a value head, in the folder of the model that they belong to.

`owned.safetensors` holds their tensors as `<module>.<tensor>`, and `owned.json` describes each module. They are
separate files, so that every tool that reads the model's weights works as if the modules weren't there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.utils import cached_file

from scalpel.models.files import header
from scalpel.runs.atomic import write_json
from scalpel.runs.folder import environment
from scalpel.runs.json_files import read_json

log = logging.getLogger("scalpel")
LANGUAGE = "language_model"  # the "module" of the language model's tensors that a classifier lacks
TENSORS, ABOUT = "owned.safetensors", "owned.json"
MODULE = {"class": str, "width": int, "owned_by": [str], "tensors": {...: [int]}}
SHAPE = {"scalpel": str, "scores": str, "modules": {...: MODULE}}


@dataclass(frozen=True)
class Owned:
    """Modules by name, and the parts that own each. `scores` names the one that is the head of the saved model (a
    reward model); `kept` are the tensors of the language model that such a model lacks."""

    modules: Mapping[str, nn.Module]
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    scores: str = ""
    kept: Mapping[str, Tensor] = field(default_factory=dict)

    def named(self) -> dict[str, Tensor]:
        own = {f"{name}.{key}": x for name, m in self.modules.items() for key, x in m.state_dict().items()}
        return own | {f"{LANGUAGE}.{key}": x for key, x in self.kept.items()}


def write_owned(owned: Owned, folder: Path) -> None:
    """Writes both files into a folder; nothing if there are no modules."""
    if not owned.modules:
        return
    save_file({name: x.detach().cpu().contiguous() for name, x in owned.named().items()}, folder / TENSORS)
    about = {
        name: described(type(m).__name__, m.state_dict(), owned.parts.get(name, ()))
        for name, m in owned.modules.items()
    }
    if owned.kept:
        about[LANGUAGE] = described("", owned.kept, ["the language model"])
    version = environment().get("scalpel-lm", "")
    write_json(folder / ABOUT, {"scalpel": version, "scores": owned.scores, "modules": about})


def described(kind: str, tensors: Mapping[str, Tensor], parts: Iterable[str]) -> dict[str, Any]:
    """The entry of a module in `owned.json`. Its width is the size of the hidden states that it reads."""
    shapes = {key: list(x.shape) for key, x in tensors.items()}
    width = next((shape[-1] for shape in shapes.values() if len(shape) > 1), 0)
    return {"class": kind, "width": width, "owned_by": sorted(set(parts)), "tensors": shapes}


def read_owned(place: str | Path) -> dict[str, dict[str, Tensor]]:
    """The tensors of each module saved with a model, in a folder or, if `place` is text, on the hub; empty if the model
    has no such files."""
    about = found(place, ABOUT)
    if about is None:
        return {}
    said = read_json(about, SHAPE)["modules"]
    file = about.with_name(TENSORS) if found(place, TENSORS) else None
    if file is None:
        raise ValueError(
            f"{about} names the modules {', '.join(sorted(said))}, but {TENSORS} with their weights is missing beside "
            f"it: copy it too, or remove {ABOUT} to start with new modules"
        )
    header(file)
    held = load_file(file)
    shapes = {f"{name}.{key}": size for name, one in said.items() for key, size in one["tensors"].items()}
    wrong = sorted(k for k in held.keys() | shapes.keys() if k not in held or list(held[k].shape) != shapes.get(k))
    if wrong:
        raise ValueError(
            f"{file} doesn't match {ABOUT}: {len(wrong)} tensors differ, first {wrong[0]}; the two files are from "
            "different models: copy both again, or remove both to start with new modules"
        )
    return {name: {key: held[f"{name}.{key}"] for key in one["tensors"]} for name, one in said.items()}


def scorer(place: str | Path) -> str:
    """The name of the module that is the head of the saved model; empty if that is a language model."""
    about = found(place, ABOUT)
    return str(read_json(about, SHAPE)["scores"]) if about else ""


def found(place: str | Path, name: str) -> Path | None:
    """A file in a model's folder, or of a model on the hub; None if there is none."""
    if isinstance(place, Path):
        return place / name if (place / name).is_file() else None
    quiet: dict[str, Any] = {
        f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors", "gated_repo")
    }
    try:
        path = cached_file(place, name, **quiet)
    except (OSError, ValueError):
        return None
    return Path(path) if path else None


@torch.no_grad()
def take_over(modules: Mapping[str, nn.Module], place: str | Path) -> list[str]:
    """Loads the weights saved with a model into the modules of the same name, and returns their names. Raises
    ValueError if shapes differ; logs which were loaded, and which saved ones no part of this stage owns."""
    saved = read_owned(place) if modules else {}
    taken = [name for name in modules if name in saved]
    for name in taken:
        refuse_unlike(name, modules[name].state_dict(), saved[name], place)
        modules[name].load_state_dict(saved[name])
    if taken:
        log.info("%s: the weights of its modules %s were loaded", place, ", ".join(taken))
    if left := sorted(saved.keys() - modules.keys() - {LANGUAGE}):
        log.info("%s: its modules %s are not loaded, since no part of this stage owns them", place, ", ".join(left))
    return taken


def refuse_unlike(name: str, made: Mapping[str, Tensor], saved: Mapping[str, Tensor], place: str | Path) -> None:
    wants, has = ({key: list(x.shape) for key, x in tensors.items()} for tensors in (made, saved))
    if wants != has:
        raise ValueError(
            f"the module {name!r} saved in {place} has the tensors {has}, but the one of this stage has {wants}, so "
            f"its weights can't be loaded: use the model that it was trained with, or remove {TENSORS} and {ABOUT} "
            "from the folder to start with a new module"
        )


def verify_owned(owned: Owned, folder: Path) -> None:
    """Raises RuntimeError unless the folder holds these modules, bit for bit."""
    again = {f"{name}.{key}": x for name, tensors in read_owned(folder).items() for key, x in tensors.items()}
    mine = owned.named()
    wrong = sorted(mine.keys() ^ again.keys())
    wrong += [k for k in sorted(mine.keys() & again.keys()) if not torch.equal(mine[k].detach().cpu(), again[k])]
    if wrong:
        raise RuntimeError(f"{folder} does not hold the modules that were saved: {len(wrong)} differ, first {wrong[0]}")
