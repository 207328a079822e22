"""Pair: a base model and a model tuned from it, read tensor by tensor, so that neither has to fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from scalpel.runs.json_files import read_json

Source = str | Path | Mapping[str, Tensor]


class Folder(Mapping[str, Tensor]):
    """The tensors of a model folder, each read from its safetensors file when it is asked for."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.files = tensor_files(self.path)

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self.files[name], framework="pt") as file:
            return file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


class Pair:
    """`base` and `tuned`: model folders or states (names → tensors) of one architecture."""

    def __init__(self, base: Source, tuned: Source) -> None:
        self.base: Mapping[str, Tensor] = base if isinstance(base, Mapping) else Folder(base)
        self.tuned: Mapping[str, Tensor] = tuned if isinstance(tuned, Mapping) else Folder(tuned)

    @cached_property
    def names(self) -> list[str]:
        """The tensors that both hold, tied ones once. Only a tied output head may be missing on one side."""
        odd = sorted((set(self.base) ^ set(self.tuned)) - {"lm_head.weight"})
        if odd:
            side = "base" if odd[0] in self.base else "tuned model"
            raise ValueError(
                f"{len(odd)} tensors are on one side only: {odd[0]!r}, for one, is in the {side} alone; "
                "a pair is two checkpoints of one architecture, with adapters folded in"
            )
        seen: set[tuple[int, int]] = set()
        return [name for name in self.base if name in self.tuned and not self.told(name, seen)]

    def told(self, name: str, seen: set[tuple[int, int]]) -> bool:
        """Whether both tensors were met under an earlier name, as a state dict holds tied weights twice."""
        if isinstance(self.base, Folder) or isinstance(self.tuned, Folder):
            return False  # files hold tied weights once, and tensors read from them have passing addresses
        where = (self.base[name].data_ptr(), self.tuned[name].data_ptr())
        twice = where in seen
        seen.add(where)
        return twice

    def __iter__(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(name, base tensor, tuned tensor), one at a time."""
        for name in self.names:
            base, tuned = self.base[name], self.tuned[name]
            if base.shape != tuned.shape:
                raise ValueError(
                    f"{name!r} has shape {tuple(base.shape)} in the base and {tuple(tuned.shape)} in the tuned "
                    "model; a pair is two checkpoints of one architecture (was the vocabulary resized?)"
                )
            yield name, base, tuned


def tensor_files(folder: Path) -> dict[str, Path]:
    """Tensor name → its file, for a folder with one safetensors file or with shards and an index."""
    if not folder.is_dir():
        raise ValueError(f"there is no model folder {folder}; give one that holds model.safetensors")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        where: dict[str, str] = read_json(index, {"weight_map": {...: str}})["weight_map"]
        return {name: folder / file for name, file in where.items()}
    whole = folder / "model.safetensors"
    if not whole.is_file():
        raise ValueError(missing(folder))
    try:
        with safe_open(whole, framework="pt") as file:
            return dict.fromkeys(file.keys(), whole)
    except SafetensorError as error:
        raise ValueError(f"{whole} can't be read as safetensors ({error}); save the model again") from None


def missing(folder: Path) -> str:
    """Why a folder holds no whole model, and what to do."""
    if (folder / "adapter_model.safetensors").is_file():
        return f"{folder} holds an adapter alone; fold it into its base first (merge_and_unload) and save that"
    if any(folder.glob("*.bin")):
        return f"{folder} holds .bin weights, which can run code when loaded; save them with safe_serialization=True"
    return f"{folder} has no model.safetensors; give the folder of a model saved with save_pretrained"
