"""Name → part, one dict an axis. A taken name raises; an unknown one suggests the nearest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

LONGEST = 100  # letters of a name in a message
AXES: dict[str, dict[str, Any]] = {
    axis: {}
    for axis in (
        "selection", "source", "corruption", "credit", "objective", "scope", "anchor", "term", "slope", "task", "probe",
        "keep set", "quantity", "verifier", "judge", "shaping", "environment",
    )
}  # fmt: skip


def register(axis: str, name: str) -> Callable[[Any], Any]:
    """Decorator that enters a part under `axis` and `name`. Raises ValueError if the name is taken."""

    def enter(part: Any) -> Any:
        if name in AXES[axis]:
            raise ValueError(f"{axis} {name!r} is registered twice: {AXES[axis][name]!r} and {part!r}")
        AXES[axis][name] = part
        return part

    return enter


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
