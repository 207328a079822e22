"""Users' files as modules: each is executed once, together with the modules that it imports from its own folder.

A file is executed again only if it, or a module that it imports from its folder, has changed, or if a new run begins
after its functions were called: the state of its globals must not leak from one run into the next.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from importlib import invalidate_caches
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from scalpel.runs.digests import digest

Execute = Callable[[Callable[[], None]], None]  # calls its argument under the guards for users' code


@dataclass
class Loaded:
    """A file's module, the digests of the files that it was made from, and whether a function of it was called."""

    module: ModuleType
    digests: list[str]
    asked: bool = False


_loaded: dict[Path, Loaded] = {}
_folders: list[str] = []  # of users' files, in their order on sys.path


def modules_beside(file: Path) -> list[Path]:
    """The modules in the file's own folder that it imports, directly or through one another."""
    found, todo = dict[Path, None](), [file]
    while todo:
        for path in places(file.parent, todo.pop()):
            if path not in found and path != file and path.is_file():
                found[path] = None
                todo.append(path)
    return sorted(found)


def places(root: Path, file: Path) -> Iterator[Path]:
    """Paths at which the imported modules may lie: absolute names below the root, relative ones beside the file."""
    for level, names in imports(file):
        start = Path(*file.parts[:-level]) if level else root
        if level:
            yield start / "__init__.py"
        for k in range(len(names)):
            place = start.joinpath(*names[: k + 1])
            yield from (place.parent / f"{place.name}.py", place / "__init__.py")


def imports(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The imports of a file: the number of leading dots, and the parts of the name. None for a file that can't be
    parsed, which is an error when it is executed."""
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
    """The module of a file. It is executed unless that was done before and no file has changed since."""
    beside = modules_beside(file)
    digests = [digest(path) for path in (file, *beside)]
    known = _loaded.get(file)
    if known is None or known.digests != digests:
        known = Loaded(loaded(file, beside, execute), digests)
        _loaded[file] = known
    return known.module


def loaded(file: Path, beside: list[Path], execute: Execute) -> ModuleType:
    """Executes the file as a new module. Its own folder comes first for its imports, so that files of the same name in
    other users' folders don't shadow them."""
    place = blake2b(bytes(file), digest_size=4).hexdigest()  # files of one name in two folders are two modules
    spec = spec_from_file_location(f"scalpel_user_{file.stem}_{place}", file)
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
    """Removes modules of this folder from sys.modules, and modules of the same names from other users' folders, so that
    they are imported anew."""
    names = {".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__") for path in beside}
    for name in names:
        place = getattr(sys.modules.get(name), "__file__", None)
        if place and (Path(place) in beside or any(Path(place).is_relative_to(other) for other in _folders)):
            del sys.modules[name]
    invalidate_caches()


def asked(file: Path) -> None:
    """Records that a function of this file was called, which may have changed its globals."""
    if file in _loaded:
        _loaded[file].asked = True


def begin_run() -> None:
    """Forgets all files whose functions an earlier run has called, so that they are executed again."""
    for file in [file for file, known in _loaded.items() if known.asked]:
        del _loaded[file]
