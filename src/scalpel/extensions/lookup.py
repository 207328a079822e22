"""What a name in a recipe stands for, inside the package or outside of it."""

from __future__ import annotations

from typing import Any

from scalpel.extensions.files import is_path, part_at
from scalpel.extensions.plugins import load_plugins
from scalpel.registry import lookup


def find(axis: str, name: str, called: str = "") -> Any:
    """What is registered in that axis under a name, or what stands at `path.py:name`. ValueError that names the nearest
    one where there is none, with the plugins that couldn't be loaded; `called` is what it calls the axis."""
    if is_path(name):
        return part_at(axis, name)
    failed = load_plugins()
    try:
        return lookup(axis, name, called)
    except ValueError as error:
        without = "; ".join(f"plugin {plugin} is left out: {reason}" for plugin, reason in failed.items())
        raise ValueError(f"{error}{f' ({without})' if without else ''}") from None
