"""Digests of the files that a run reads besides its recipe (models, data, code), to detect changes on resume."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from os.path import expanduser, isfile
from pathlib import Path
from typing import Any

from scalpel.config.recipe import Recipe
from scalpel.data.example import Example
from scalpel.extensions.modules import modules_beside
from scalpel.rewards.declared import judge_of
from scalpel.runs.digests import remembered
from scalpel.tasks.spool import Rows

# the files of a model folder that determine its weights and its tokenisation
MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.py")
OWN_PLACES = ("previous", "base", "start")
PEEK = 1000  # rows that are digested of data that is generated on demand


def files_of(recipe: Recipe) -> dict[str, dict[str, str]]:
    """Every file that the recipe names, by the path in the recipe, with its use and its digest. Names that aren't local
    files, such as data sets on the hub, are left out."""
    found: dict[str, dict[str, str]] = {}
    for what, path in named_files(recipe):
        if isfile(path):
            entry = found.setdefault(str(path), {"of": what, "digest": ""})
            entry["digest"] = entry["digest"] or remembered(path)
            if what not in entry["of"].split(", "):
                entry["of"] += f", {what}"
    return found


def named_files(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """The use and the path of each file."""
    for role, spec in {"base": recipe.model, **recipe.models}.items():
        yield from within(f"the model {role!r}" if role != "base" else "the base", spec.path)
        yield from named_in(spec.model_dump(exclude={"path"}), "the base" if role == "base" else f"the model {role!r}")
    yield from named_in(recipe.task, "data")
    yield from named_in(recipe.data.model_dump(), "rewards")
    for stage in recipe.stages:
        for key in ("start", "reference"):
            if (place := getattr(stage, key)) not in OWN_PLACES:
                yield from within(f"the {key}", place)
        for signal in stage.signals:
            yield from named_in(signal.task or {}, "data")
            yield from named_in(signal.rewards or [], "rewards")
        yield from named_in([spec.model_dump() for spec in stage.parts], "a part")
        yield from named_in(stage.keep.sets if stage.keep else [], "a keep set")
    yield from named_in(recipe.measure.probes, "a probe")


def within(what: str, place: str) -> Iterator[tuple[str, Path]]:
    """The files of a model in a folder; for an adapter, those of its base as well."""
    folder = folder_of(place)
    if folder is None:
        return
    for pattern in MODEL_FILES:
        for path in sorted(folder.glob(pattern)):
            yield what, path
    config = folder / "adapter_config.json"
    if config.is_file():
        try:
            base = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
        except (ValueError, AttributeError):
            return  # loading the adapter reports what is wrong with it
        if not isinstance(base, str) or not base:
            return
        near = str(folder / base) if (folder / base).is_dir() else base  # as the adapter is opened
        if folder_of(near) not in (None, folder) and Path(near).resolve() != folder.resolve():
            yield from within(what, near)


def folder_of(place: str) -> Path | None:
    """The folder of a model: a local one, or the one in the hub's cache."""
    folder = Path(place).expanduser()
    if folder.is_dir():
        return folder
    if place.count("/") != 1 or place.startswith((".", "/", "~")):
        return None
    from huggingface_hub import try_to_load_from_cache

    for name in ("config.json", "adapter_config.json"):
        found = try_to_load_from_cache(place, name)
        if isinstance(found, str):
            return Path(found).parent
    return None


def named_in(tables: Any, what: str) -> Iterator[tuple[str, Path]]:
    """Texts in tables that are paths of files; of code, `path.py:name`, the file, and those that it imports from beside
    it."""
    if isinstance(tables, str):
        code, _, name = tables.rpartition(":")
        for text in (tables, code) if code.endswith(".py") and name else (tables,):
            if text and len(text) < 1024 and "\n" not in text and "\0" not in text:
                yield what, Path(expanduser(text))
                if text == code:
                    yield from ((what, path) for path in modules_beside(Path(expanduser(text))))
    elif isinstance(tables, Mapping):
        judge = judge_of(str(tables.get("name")))
        if judge and judge.opens and isinstance(place := tables.get(judge.opens), str):
            yield from within("a reward model", place)
        for value in tables.values():
            yield from named_in(value, what)
    elif isinstance(tables, list | tuple):
        for value in tables:
            yield from named_in(value, what)


def rows_of(examples: Sequence[Example]) -> dict[str, Any]:
    """How many rows are trained on, and a digest of what they say, in their order. Fields without a value are left out,
    so that a field which a later version adds changes nothing."""
    found = blake2b(digest_size=16)
    for example in examples if isinstance(examples, list | tuple | Rows) else islice(examples, PEEK):
        said = {key: value for key, value in vars(example).items() if value is not None and value != () and value != {}}
        found.update(repr(sorted(said.items())).encode("utf-8", "surrogatepass"))
    return {"rows": len(examples), "digest": found.hexdigest()}


def differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The differences, one line each: files with their digests then and now, and the trained rows. A data file that
    changed without changing the trained rows is no difference."""
    same_rows = was.get("rows") == now.get("rows") and bool(now.get("rows"))
    lines = []
    for path, then in was.get("files", {}).items():
        here = now.get("files", {}).get(path)
        if here is None:
            if not isfile(path):
                lines.append(f"{path} ({then['of']}) was there, and is not")
        elif here["digest"] != then["digest"] and not (same_rows and here["of"] == "data"):
            lines.append(
                f"{path} ({here['of']}): its digest was {then['digest'][:12]}, and is {here['digest'][:12]} now"
            )
    for task, row in now.get("rows", {}).items():
        old = was.get("rows", {}).get(task)
        if old is not None and old != row:
            count = f"were {old['rows']}, and are now {row['rows']}"
            same = f"are {row['rows']} as they were, but don't say the same"
            lines.append(f"the rows of {task} that are trained on {same if old['rows'] == row['rows'] else count}")
    return lines


def split_by(found: Mapping[str, Any], what: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The files with that use alone, and all others."""
    files = found.get("files", {})
    alone = {path: about for path, about in files.items() if about["of"] == what}
    return {"files": alone}, {"files": {path: about for path, about in files.items() if path not in alone}}
