"""Modules that parts own, such as a value head, in the folder of the model whose hidden states they read.

`owned.safetensors` has their tensors as `<module>.<tensor>`, `owned.json` says of each module what it is. They are in
files of their own, so that everything that reads the model's weights finds these as it would without them.
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
LANGUAGE = "language_model"  # stands for a module's name before what a classifier has no place for
TENSORS, ABOUT = "owned.safetensors", "owned.json"
MODULE = {"class": str, "width": int, "owned_by": [str], "tensors": {...: [int]}}
SHAPE = {"scalpel": str, "scores": str, "modules": {...: MODULE}}


@dataclass(frozen=True)
class Owned:
    """Modules by name, and which parts own each. `scores` names the one that is the head of the saved model, `kept` are
    tensors of the language model that such a model has no place for."""

    modules: Mapping[str, nn.Module]
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    scores: str = ""
    kept: Mapping[str, Tensor] = field(default_factory=dict)

    def named(self) -> dict[str, Tensor]:
        own = {f"{name}.{key}": x for name, m in self.modules.items() for key, x in m.state_dict().items()}
        return own | {f"{LANGUAGE}.{key}": x for key, x in self.kept.items()}


def write_owned(owned: Owned, folder: Path) -> None:
    """Writes both files into a folder; nothing where there is no module."""
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
    """What `owned.json` says of a module. Its width is that of the hidden states that it reads."""
    shapes = {key: list(x.shape) for key, x in tensors.items()}
    width = next((shape[-1] for shape in shapes.values() if len(shape) > 1), 0)
    return {"class": kind, "width": width, "owned_by": sorted(set(parts)), "tensors": shapes}


def read_owned(place: str | Path) -> dict[str, dict[str, Tensor]]:
    """The tensors of each module that lies beside a model, in a folder or, if `place` is text, on the hub; none where
    it has no such files."""
    about = found(place, ABOUT)
    if about is None:
        return {}
    said = read_json(about, SHAPE)["modules"]
    file = about.with_name(TENSORS) if found(place, TENSORS) else None
    if file is None:
        raise ValueError(
            f"{about} names the modules {', '.join(sorted(said))}, but {TENSORS}, which holds them, isn't beside it: "
            f"copy it too, or remove {ABOUT} to begin with new modules"
        )
    header(file)
    held = load_file(file)
    shapes = {f"{name}.{key}": size for name, one in said.items() for key, size in one["tensors"].items()}
    wrong = sorted(k for k in held.keys() | shapes.keys() if k not in held or list(held[k].shape) != shapes.get(k))
    if wrong:
        raise ValueError(
            f"{file} doesn't hold what {ABOUT} says: {len(wrong)} tensors differ, first {wrong[0]}; the two files are "
            "of two models, so copy both again, or remove both to begin with new modules"
        )
    return {name: {key: held[f"{name}.{key}"] for key in one["tensors"]} for name, one in said.items()}


def scorer(place: str | Path) -> str:
    """The name of the module that is the head of the model there; empty where that is a language model."""
    about = found(place, ABOUT)
    return str(read_json(about, SHAPE)["scores"]) if about else ""


def found(place: str | Path, name: str) -> Path | None:
    """A file of a model's folder, or of a model on the hub, if it has it."""
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
    """Gives modules the saved weights of the same name that lie beside the model, and returns their names. Raises
    ValueError where the shapes differ; says what was taken, and what is there that nothing here owns."""
    saved = read_owned(place) if modules else {}
    taken = [name for name in modules if name in saved]
    for name in taken:
        refuse_unlike(name, modules[name].state_dict(), saved[name], place)
        modules[name].load_state_dict(saved[name])
    if taken:
        log.info("%s: goes on with its modules %s, as they were trained", place, ", ".join(taken))
    if left := sorted(saved.keys() - modules.keys() - {LANGUAGE}):
        log.info("%s: its modules %s are left out, since no part of this stage owns them", place, ", ".join(left))
    return taken


def refuse_unlike(name: str, made: Mapping[str, Tensor], saved: Mapping[str, Tensor], place: str | Path) -> None:
    wants, has = ({key: list(x.shape) for key, x in tensors.items()} for tensors in (made, saved))
    if wants != has:
        raise ValueError(
            f"{place} holds a module {name!r} of other tensors than this stage's parts bring ({has} and not {wants}), "
            f"so it can't go on with it: take the model that it was trained on, or remove {TENSORS} and {ABOUT} from "
            "the folder to begin with a new one"
        )


def verify_owned(owned: Owned, folder: Path) -> None:
    """Raises RuntimeError unless the folder holds these modules, bit for bit."""
    again = {f"{name}.{key}": x for name, tensors in read_owned(folder).items() for key, x in tensors.items()}
    mine = owned.named()
    wrong = sorted(mine.keys() ^ again.keys())
    wrong += [k for k in sorted(mine.keys() & again.keys()) if not torch.equal(mine[k].detach().cpu(), again[k])]
    if wrong:
        raise RuntimeError(f"{folder} does not hold the modules that were saved: {len(wrong)} differ, first {wrong[0]}")
