"""Name → part, one dict an axis. A taken name raises; an unknown one suggests the nearest."""

from __future__ import annotations

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


def register(axis: str, name: str) -> Callable[[Any], Any]:
    """Decorator that enters a part under `axis` and `name`. Raises ValueError if the name is taken."""

    def enter(part: Any) -> Any:
        if name in AXES[axis]:
            first = ORIGINS.get((axis, name), "scalpel")
            raise ValueError(
                f"{axis} {name!r} is registered twice: by {first} ({AXES[axis][name]!r:.200}) and by "
                f"{_origin or 'scalpel'} ({part!r:.200}); give one of them another name"
            )
        AXES[axis][name] = part
        if _origin:
            ORIGINS[axis, name] = _origin
        return part

    return enter


@contextmanager
def registering(origin: str) -> Iterator[None]:
    """While it lasts, what is registered belongs to that file or plugin. What the same one registered before is
    forgotten, so that it may be executed again; where it fails, nothing of it stays."""
    global _origin
    before, _origin = _origin, origin
    forget(origin)
    try:
        yield
    except BaseException:
        forget(origin)
        raise
    finally:
        _origin = before


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
