"""Users' files as modules, with those that they import from beside them: which these are, and each imported once.

A file is imported again only where it, or one beside it, has changed, or where a new run begins after its functions
were asked: no run begins with what another one left in it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import invalidate_caches
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from scalpel.runs.digests import digest

Execute = Callable[[Callable[[], None]], None]  # runs what it is given, as users' code is run


@dataclass
class Loaded:
    """A file's module, as of which bytes, and whether any of its functions was asked since."""

    module: ModuleType
    digests: list[str]
    asked: bool = False


_loaded: dict[Path, Loaded] = {}
_folders: list[str] = []  # of users' files, as they stand on the path


def modules_beside(file: Path) -> list[Path]:
    """The files in its folder and below that a file imports, wherever in it, and those that these import."""
    found, todo = dict[Path, None](), [file]
    while todo:
        for path in places(file.parent, todo.pop()):
            if path not in found and path != file and path.is_file():
                found[path] = None
                todo.append(path)
    return sorted(found)


def places(root: Path, file: Path) -> Iterator[Path]:
    """Where that which a file imports would lie: absolute names under the root, others beside the file itself."""
    for level, names in imports(file):
        start = Path(*file.parts[:-level]) if level else root
        if level:
            yield start / "__init__.py"
        for k in range(len(names)):
            place = start.joinpath(*names[: k + 1])
            yield from (place.parent / f"{place.name}.py", place / "__init__.py")


def imports(file: Path) -> Iterator[tuple[int, list[str]]]:
    """What a file imports: how many dots stand before the name, and the name's parts. None of a file that is no
    Python, which is said when it is imported."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            before = node.module.split(".") if node.module else []
            yield from ((node.level, [*before, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__") and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield 0, name.value.split(".")


def called(node: ast.Call) -> str:
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def module_of(file: Path, execute: Execute) -> ModuleType:
    """The module of a file, executed unless it was already, and nothing has changed since."""
    beside = modules_beside(file)
    digests = [digest(path) for path in (file, *beside)]
    known = _loaded.get(file)
    if known is None or known.digests != digests:
        known = Loaded(loaded(file, beside, execute), digests)
        _loaded[file] = known
    return known.module


def loaded(file: Path, beside: list[Path], execute: Execute) -> ModuleType:
    """The module anew, with what it imports from its folder, though another folder has files of the same names."""
    spec = spec_from_file_location(f"scalpel_user_{file.stem}", file)
    assert spec is not None and spec.loader is not None, f"{file} ends with .py"
    module, loader = module_from_spec(spec), spec.loader
    forget_modules(file.parent, beside)
    sys.path[:] = [folder for folder in sys.path if folder not in _folders]
    _folders[:] = [str(file.parent), *(folder for folder in _folders if folder != str(file.parent))]
    sys.path.extend(folder for folder in _folders if folder not in sys.path)  # last, so that they hide nothing
    sys.modules[spec.name] = module  # so that dataclasses and pickling inside it work
    execute(lambda: loader.exec_module(module))
    return module


def forget_modules(folder: Path, beside: list[Path]) -> None:
    """Lets what is to be imported from that folder be looked for again: it was imported before, as it was then, or is
    known as a file of another user's folder."""
    names = {".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__") for path in beside}
    for name in names:
        place = getattr(sys.modules.get(name), "__file__", None)
        if place and (Path(place) in beside or any(Path(place).is_relative_to(other) for other in _folders)):
            del sys.modules[name]
    invalidate_caches()


def asked(file: Path) -> None:
    """Notes that a function of this file was asked, and may remember it."""
    if file in _loaded:
        _loaded[file].asked = True


def begin_run() -> None:
    """Forgets all files of which a function was asked, by a run before this one."""
    for file in [file for file, known in _loaded.items() if known.asked]:
        del _loaded[file]
