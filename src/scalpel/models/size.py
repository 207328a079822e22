"""How many parameters a model has, read from the headers of its files before any of it is loaded."""

from __future__ import annotations

from math import prod
from pathlib import Path

from safetensors import safe_open

from scalpel.models.adapter_folder import base_of
from scalpel.models.files import is_adapter, weight_files
from scalpel.models.load import locate


def parameters_of(spec: str | Path) -> int | None:
    """The number of a folder's parameters; None where that can't be told before the model is loaded, as of one on the
    hub that isn't here, or of quantised weights, which are packed. An adapter counts as its base."""
    place = locate(spec)
    if not isinstance(place, Path):
        return None
    try:
        if is_adapter(place):
            return parameters_of(base_of(place))
        files = weight_files(place)
        return sum(map(count, files)) if files else None
    except (ValueError, OSError):  # whoever loads it says what is wrong
        return None


def count(file: Path) -> int:
    with safe_open(file, framework="pt") as tensors:
        return sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
