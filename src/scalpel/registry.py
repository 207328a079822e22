"""Name → part, one dict an axis. A taken name raises; an unknown one suggests the nearest."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

LONGEST = 100  # letters of a name in a message
AXES: dict[str, dict[str, Any]] = {
    axis: {}
    for axis in (
        "selection", "source", "corruption", "credit", "objective", "scope", "anchor", "term", "slope", "task", "probe",
        "keep set", "quantity", "verifier", "judge", "shaping", "environment", "method",
    )
}  # fmt: skip
ORIGINS: dict[tuple[str, str], str] = {}  # of what was registered from outside the package: which file or plugin
_origin = ""  # which file or plugin is being executed
_entered: set[tuple[str, str]] = set()  # what it has registered so far


def register(axis: str, name: str) -> Callable[[Any], Any]:
    """Decorator that enters a part under `axis` and `name`. Raises ValueError if the name is taken."""

    def enter(part: Any) -> Any:
        origin, key = origin_here(), (axis, name)
        again = key not in _entered and origin and ORIGINS.get(key) == origin  # its file is executed once more
        if name in AXES[axis] and not again:
            first = ORIGINS.get((axis, name), "scalpel")
            raise ValueError(
                f"{axis} {name!r} is registered twice: by {first} ({AXES[axis][name]!r:.200}) and by "
                f"{origin or 'scalpel'} ({part!r:.200}); give one of them another name"
            )
        AXES[axis][name] = part
        if origin:
            ORIGINS[key] = origin
            _entered.add(key)
        return part

    return enter


@contextmanager
def registering(origin: str) -> Iterator[None]:
    """While it lasts, what is registered belongs to that file or plugin, or to the file beside it that registers. What
    the same one registered before is forgotten, so that it may be executed again; where it fails, nothing of it
    stays. A file beside it that several files import is executed again with each of them, and registers again."""
    global _origin
    before, _origin = _origin, origin
    forget(origin)
    _entered.clear()
    try:
        yield
    except BaseException:
        forget(origin)
        raise
    finally:
        _origin = before


def origin_here() -> str:
    """What the present call to register belongs to: the plugin that is being executed, the user's file, or the file in
    its folder whose code calls."""
    if not _origin.endswith(".py"):
        return _origin
    folder, frame = f"{os.path.dirname(_origin)}{os.sep}", sys._getframe(1)
    while frame is not None:
        own = frame.f_globals
        # the package itself may lie in the folder, where somebody works in a checkout
        if own.get("__name__", "").partition(".")[0] != "scalpel" and str(own.get("__file__")).startswith(folder):
            return str(own["__file__"])
        frame = frame.f_back  # type: ignore[assignment]
    return _origin


def forget(origin: str) -> None:
    for axis, name in [key for key, place in ORIGINS.items() if place == origin]:
        del ORIGINS[axis, name]
        AXES[axis].pop(name, None)


def lookup(axis: str, name: str, called: str = "") -> Any:
    """The part under that name. Raises ValueError that names the nearest ones if there is none; `called` is what the
    message calls it, if not by its axis."""
    try:
        return AXES[axis][name]
    except KeyError:
        raise ValueError(unknown(called or axis, name, AXES[axis])) from None


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The words for an unknown name: what came, the nearest known one, and all there are."""
    known = sorted(known)
    name = name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {name!r}: {hint}known are {', '.join(known) or 'none'}"


def gather_parts(package: str, path: Iterable[str]) -> None:
    """Imports every module of an axis' folder, so that a file laid there is registered."""
    for module in iter_modules(path):
        import_module(f"{package}.{module.name}")
