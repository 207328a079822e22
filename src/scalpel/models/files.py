"""Checks of a model folder before a model is built from it; each error names the file and the cause."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from scalpel.runs.files import listed

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
JSON_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "adapter_config.json",
)
INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
ADAPTER = "adapter_config.json"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter. ValueError if it holds a whole model too: transformers would load the base
    that the adapter names, and ignore the weights beside the adapter."""
    if not (folder / ADAPTER).is_file():
        return False
    if (folder / "config.json").exists() and any((folder / name).exists() for name in (WHOLE, INDEX)):
        raise ValueError(
            f"{folder} holds both a whole model and an adapter ({ADAPTER}), so it is ambiguous: move the adapter's "
            "files into another folder"
        )
    return True


def check_folder(folder: Path) -> None:
    """Raises ValueError unless the folder holds the config, the tokenizer and the safetensors files of a model."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file: give the folder that contains config.json and the weights")
    if not (folder / "config.json").exists():
        raise ValueError(
            f"{folder} has no config.json, so it is no Hugging Face model folder: it holds {listed(folder)}"
        )
    if not any(folder.glob("*.safetensors")) and not (folder / INDEX).exists():
        pickled = [p.name for p in [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]]
        why = (
            f"only pickled weights ({', '.join(pickled)}), which can execute code on loading"
            if pickled
            else "no weights"
        )
        raise ValueError(f"{folder} holds {why}: save the model again with save_pretrained, which writes safetensors")
    if not (folder / INDEX).exists() and not (folder / WHOLE).exists():
        there = ", ".join(sorted(p.name for p in folder.glob("*.safetensors"))[:4])
        raise ValueError(
            f"{folder} has no {WHOLE}, and no {INDEX} that says which tensors are in which of its files ({there}): "
            "copy the file that is missing too, or save the model again with save_pretrained"
        )
    if not has_tokenizer(folder):
        raise ValueError(
            f"{folder} has no tokenizer (none of {', '.join(TOKENIZER_FILES)}): save the tokenizer of the model's "
            "base into the same folder with tokenizer.save_pretrained"
        )
    check_json(folder)
    check_tensors(folder)


def has_tokenizer(folder: Path) -> bool:
    return any((folder / name).exists() for name in TOKENIZER_FILES)


def check_json(folder: Path) -> None:
    """Raises ValueError for the first of the folder's JSON files that isn't one object."""
    for name in JSON_FILES:
        if (folder / name).is_file():
            read_json(folder / name)


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file, or ValueError with the file and what is wrong."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no text, so it is no JSON: {COPY}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        empty = "it is empty" if not file.stat().st_size else str(error).splitlines()[0]
        raise ValueError(f"{file}{where} is no JSON ({empty}): {COPY}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds {type(found).__name__} in place of an object: {COPY}")
    return found


COPY = "the file is damaged or was copied in part; copy or download it again"


def check_tensors(folder: Path) -> None:
    """Raises ValueError where a safetensors file is damaged, a shard is missing, or a shard lacks what the index
    says it holds. Only headers are read."""
    if (folder / WHOLE).is_file() or not (folder / INDEX).is_file():
        for file in weight_files(folder):
            header(file)
        return
    where = weight_map(folder)
    for name in sorted(set(where.values())):
        held = header(shard(folder, name))
        lacking = [key for key, file in where.items() if file == name and key not in held]
        if lacking:
            raise ValueError(
                f"{folder / name} lacks {len(lacking)} of the tensors that {INDEX} says it holds, {lacking[0]} for "
                "one: index and shards are of two models; copy or download both again"
            )


def weight_map(folder: Path) -> dict[str, str]:
    """Tensor name → shard, as the index has it."""
    where = read_json(folder / INDEX).get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(v, str) for v in where.values()):
        raise ValueError(f"{folder / INDEX} has no weight_map, which says where each tensor is: {COPY}")
    return where


def shard(folder: Path, name: str) -> Path:
    file = folder / name
    if file.parent != folder or not file.is_file():
        there = ", ".join(sorted(p.name for p in folder.glob("*.safetensors"))) or "no shard at all"
        raise ValueError(f"{folder / INDEX} names the shard {name}, which isn't there ({there}): copy it too")
    return file


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold the model: one, or the shards of the index."""
    if (folder / WHOLE).is_file():
        return [folder / WHOLE]
    if (folder / INDEX).is_file():
        return [shard(folder, name) for name in sorted(set(weight_map(folder).values()))]
    return []


def header(file: Path) -> dict[str, str]:
    """Tensor name → type, from a file's header. Raises ValueError if it isn't whole."""
    try:
        with safe_open(file, framework="pt") as tensors:
            return {name: tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        size = file.stat().st_size
        if not size:
            cause = "it is empty"
        elif file.read_bytes()[:40].startswith(b"version https://git-lfs"):
            cause = "it is a Git LFS pointer; git lfs pull fetches the weights"
        else:
            cause = f"{error}; it has {size} bytes"
        raise ValueError(f"{file} can't be read as safetensors ({cause}): copy or download it again") from None


def headers(folder: Path) -> Iterator[tuple[str, str]]:
    """(tensor name, type) of all weights."""
    for file in weight_files(folder):
        yield from header(file).items()
