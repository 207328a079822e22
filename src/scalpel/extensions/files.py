"""Users' files, named as `path.py:name` in a recipe: the functions in them, and the parts that they register.

A path is relative to the working directory. The file is executed once, whoever asks for it how often, and again only
where it, or a file that it imports from beside it, has changed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from scalpel.extensions import modules
from scalpel.extensions.guarded import Failed, guarded
from scalpel.part import PARTS, Part
from scalpel.registry import AXES, ORIGINS, registering, unknown
from scalpel.runs.files import existing

SCORED = ("credit", "objective", "anchor")  # axes whose parts get log-probs


def is_path(name: str) -> bool:
    """Whether a name in a recipe is that of something in a file."""
    return ".py:" in name


def file_of(spec: str) -> Path:
    """The file of `path.py:name`."""
    return existing(spec.rpartition(":")[0]).resolve()


def module_of(spec: str) -> ModuleType:
    """The module of `path.py:name`; what its file registers belongs to that file."""
    file = file_of(spec)

    def execute(run: Callable[[], None]) -> None:
        with registering(str(file)):
            guarded("it", "", file, run)

    try:
        return modules.module_of(file, execute)
    except Failed as error:
        raise ValueError(f"{spec.rpartition(':')[0]} can't be imported: {error}") from error


def function_at(spec: str) -> Callable[..., Any]:
    """The function, or another object that can be called, at `path.py:name`."""
    module = module_of(spec)
    path, _, name = spec.rpartition(":")
    found = getattr(module, name, None)
    if not callable(found):
        raise ValueError(f"{path}: {unknown('function', name, functions(module))}")
    return found  # type: ignore[no-any-return]


def functions(module: ModuleType) -> list[str]:
    """The functions that a module itself defines."""
    return [k for k, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module.__name__]


def part_at(axis: str, spec: str) -> Any:
    """What stands at `path.py:name` for that axis: what the file, or one beside it that it imports, registers under
    that name or with that function, else
    the function or class itself. A plain function is a part that needs log-probs, with all other declarations at their
    defaults."""
    module, file = module_of(spec), file_of(spec)
    path, _, name = spec.rpartition(":")
    origins = {str(place) for place in (file, *modules.modules_beside(file))}
    mine = {key: AXES[key[0]][key[1]] for key, place in ORIGINS.items() if place in origins}
    found = getattr(module, name, None)
    same = {
        key: entry
        for key, entry in mine.items()
        if key[1] == name or (found is not None and getattr(entry, "fn", entry) is found)
    }
    for (other, called), entry in sorted(same.items(), key=lambda item: item[0][0] != axis):
        if other == axis:
            return entry
        raise ValueError(f"{spec} is registered as {other} {called!r}, and can't be used as {axis}")
    if callable(found) and axis in PARTS:
        return Part(axis, name, found, needs={"logp"} if axis in SCORED else ())
    if callable(found) or (axis == "task" and hasattr(found, "examples")):
        return found
    known = {*functions(module), *(called for other, called in mine if other == axis)}
    raise ValueError(f"{path}: {unknown('function', name, known)}")
