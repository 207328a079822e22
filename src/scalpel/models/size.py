"""The number of a model's parameters, from the headers of its files, without loading it."""

from __future__ import annotations

from math import prod
from pathlib import Path

from safetensors import safe_open

from scalpel.models.adapter_folder import base_of
from scalpel.models.files import is_adapter, weight_files
from scalpel.models.load import locate


def parameters_of(spec: str | Path) -> int | None:
    """The number of a model's parameters; None if only loading can tell, as for a hub model that isn't downloaded, or
    for quantised weights, which are packed. An adapter counts as its base."""
    place = locate(spec)
    if not isinstance(place, Path):
        return None
    try:
        if is_adapter(place):
            return parameters_of(base_of(place))
        files = weight_files(place)
        return sum(map(count, files)) if files else None
    except (ValueError, OSError):  # loading it raises the error with its explanation
        return None


def count(file: Path) -> int:
    with safe_open(file, framework="pt") as tensors:
        return sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
