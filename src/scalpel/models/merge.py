"""Merging of an adapter into its base model, saved as an ordinary model folder."""

from __future__ import annotations

from pathlib import Path

import torch

from scalpel.models.adapter_folder import base_of
from scalpel.models.files import ADAPTER, is_adapter, read_json
from scalpel.models.load import load, locate
from scalpel.models.save import save
from scalpel.runs.targets import refuse_taken


def merge(adapter: str | Path, out: str | Path | None = None, *, dtype: torch.dtype | None = None) -> Path:
    """Merges an adapter into its base and writes a model folder with the tokenizer (by default `<adapter>-merged`). The
    folder is read back and compared before it is moved into place. `dtype` None is that of the base's config."""
    place = locate(adapter)
    if not isinstance(place, Path):
        raise ValueError(f"no adapter folder {adapter}: give the folder that contains {ADAPTER}")
    if not is_adapter(place):
        held = "a plain model already" if (place / "config.json").exists() else f"no {ADAPTER}"
        raise ValueError(f"{place} is no adapter, it holds {held}: give the folder that holds {ADAPTER}")
    folder = Path(out) if out is not None else beside(place)
    refuse_taken(folder)
    model, tokens = load(place, dtype=dtype or type_of(place))
    return save(model, tokens, folder)


def beside(adapter: Path) -> Path:
    """The default folder of the merged model; it also works for "." as the adapter's folder."""
    named = adapter if adapter.name not in ("", "..") else adapter.resolve()
    return named.with_name(f"{named.name}-merged")


def type_of(adapter: Path) -> torch.dtype:
    """The dtype of the base model's weights by its config; float32 if the config has none."""
    place = locate(str(base_folder(adapter)))
    if not isinstance(place, Path) or not (place / "config.json").is_file():
        return torch.float32
    said = read_json(place / "config.json")
    name = said.get("dtype") or said.get("torch_dtype")
    found = getattr(torch, name, None) if isinstance(name, str) else None
    return found if isinstance(found, torch.dtype) and found.is_floating_point else torch.float32


def base_folder(adapter: Path) -> str:
    """The base model of an adapter, which may itself be based on other adapters."""
    base = base_of(adapter)
    return base_folder(Path(base)) if Path(base).is_dir() and is_adapter(Path(base)) else base
